"""When a status is written, as a timeline: names and conditions at once, figures on a tenth and each 30 s."""

from tests.unit.backends.kubernetes.operator.cluster import service

from plimsoll.backends.kubernetes.operator.judging import Look
from plimsoll.backends.kubernetes.operator.rolling import Phase, Roll
from plimsoll.backends.kubernetes.operator.seen import Figures, Pod, Seen, Workload
from plimsoll.backends.kubernetes.operator.status import Writing, status_of
from plimsoll.backends.kubernetes.operator.wanting import Wish

WISH = Wish(1, revision="mood-a", url="http://mood", p99_s=0.1, budget="100ms", resolved={"a": {"b": 1}, "c": 2})
T0 = 1_700_000_000.0


class Server:
    """The status as it stands there, and how often it was written."""

    def __init__(self):
        self.status, self.writes, self.writing = {}, 0, Writing()

    def at(self, seconds, figures=None, count=1, wish=WISH, words=""):
        """One look. What was written, None for nothing."""
        now = T0 + seconds
        pods = [Pod(f"p{index}", "mood-a", ready=True) for index in range(count)]
        workload = Workload("mood-a", "Deployment", count, count, count)
        seen = Seen(service(**self.status), [workload], pods, figures=figures, scaler=words)
        status = status_of(Look(seen, wish, Roll((), "mood-a", count, Phase.STEADY)), now=now)
        patch = self.writing.patch(status, self.status, figures, now)
        self.again_s = self.writing.again_s(status, self.status, figures, now)
        if patch is None:
            return None
        self.writes += 1
        self.writing.wrote(patch, figures, now)
        self.status = merged(self.status, patch)
        return patch


def merged(old, patch):
    if not isinstance(patch, dict) or not isinstance(old, dict):
        return patch
    found = dict(old)
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)
    return found


def figures(p99_s, rps=100.0):
    return Figures(p99_s=p99_s, requests_per_s=rps, within_budget=True)


def test_nothing_new_is_not_written():
    server = Server()
    assert server.at(0)["url"] == "http://mood"
    assert server.at(1) is None
    assert server.again_s is None


def test_counts_are_written_at_once():
    server = Server()
    server.at(0)
    patch = server.at(1, count=3)
    assert (patch["ready"], patch["replicas"]) == ("3/3", 3)


def test_figures_come_on_a_tenth_and_at_most_each_30_seconds():
    server = Server()
    server.at(0)
    assert server.at(1, figures(0.018))["p99"] == "18ms"
    assert server.at(2, figures(0.018)) is None
    assert server.at(5, figures(0.080)) is None, "too soon"
    assert server.again_s == 26
    assert server.at(31, figures(0.080))["p99"] == "80ms"
    assert server.at(90, figures(0.086)) is None, "7%"
    assert server.again_s is None
    assert server.at(91, figures(0.0881))["p99"] == "88.1ms"
    assert server.status["figuresAt"].endswith("Z")


def test_figures_of_a_controller_that_went_stay_with_their_time():
    server = Server()
    server.at(0, figures(0.018))
    at = server.status["figuresAt"]
    patch = server.at(100, None)
    assert patch is not None, "the condition WithinBudget is not known any more"
    assert (server.status["p99"], server.status["figuresAt"]) == ("18ms", at)


def test_a_condition_whose_words_alone_change_is_written_each_30_seconds():
    server = Server()
    server.at(0)
    assert server.at(1, words="unable to get metric") is None
    assert server.again_s == 29
    patch = server.at(30, words="unable to get metric")
    assert set(patch) == {"conditions"}


def test_defaults_that_are_no_longer_written_go():
    server = Server()
    server.at(0)
    other = Wish(1, revision="mood-a", url="http://mood", budget="100ms", resolved={"a": {"d": 1}})
    server.at(1, wish=other)
    assert server.status["resolved"] == {"a": {"d": 1}}


def test_a_broken_budget_stands_beside_it():
    server = Server()
    server.at(0, Figures(p99_s=0.18, within_budget=False))
    assert server.status["budget"] == "100ms exceeded"
    server.at(60, Figures(p99_s=0.08, within_budget=True))
    assert server.status["budget"] == "100ms"


def test_transitions_keep_their_time():
    server = Server()
    server.at(0)
    (before,) = [one for one in server.status["conditions"] if one["type"] == "Ready"]
    server.at(60, count=2)
    (after,) = [one for one in server.status["conditions"] if one["type"] == "Ready"]
    assert after["message"] != before["message"]
    assert after["lastTransitionTime"] == before["lastTransitionTime"]
