"""The page at `/`: services against their budgets, their replicas, the last events. Refreshes itself; no assets from
anywhere else, no cookies. Names and messages reach the page through `textContent`, never as HTML.
"""

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2126; --dim: #66707a; --line: #e1e5e9; --paper: #fff; --card: #f7f8fa;
  --good: #176b2c; --warn: #8a5a00; --bad: #b00020; --busy: #0b5394 }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7ea; --dim: #98a2ac; --line: #343b42; --paper: #15181b;
  --card: #1d2125; --good: #5ecb7d; --warn: #e0b050; --bad: #ff7a85; --busy: #7db7f0 } }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1.5rem; max-width: 72rem; color: var(--ink);
  background: var(--paper) }
header { display: flex; flex-wrap: wrap; gap: .3rem 1.5rem; align-items: baseline; color: var(--dim) }
h1 { font-size: 1.3rem; margin: 0; color: var(--ink) } h2 { font-size: 1rem; margin: 1.8rem 0 .4rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .35rem 1rem .35rem 0; border-bottom: 1px solid var(--line); white-space: nowrap;
  vertical-align: top }
th { font-weight: 500; font-size: .85rem; color: var(--dim) }
.n { text-align: right; font-variant-numeric: tabular-nums }
td.n small, td small { display: block; color: var(--dim); font-size: .8rem }
td.note { white-space: normal; padding: .1rem 0 .5rem 1rem; font-size: .9rem }
tr.more td { border-bottom: 0 }
td.note div { border-left: 3px solid currentColor; padding-left: .6rem; overflow-wrap: anywhere }
tr.replica td { background: var(--card); font-size: .85rem; padding-top: .15rem; padding-bottom: .15rem }
tr.replica td:first-child { padding-left: 1rem }
.Ready, .ready, .spare { color: var(--good) } .Failed, .failed, .error, .over { color: var(--bad) }
.Degraded, .warning, .backing_off { color: var(--warn) } .Progressing, .starting, .draining { color: var(--busy) }
.over { font-weight: 600 } .dim, .dim small { color: var(--dim) }
code, #events { font: 13px/1.6 ui-monospace, monospace }
#events div { white-space: pre-wrap; overflow-wrap: anywhere } #events time, #events b { margin-right: 1rem }
#events time { color: var(--dim) } #state { color: var(--bad); font-weight: 600 } a { color: inherit }
"""

_SCRIPT = """
const at = id => document.getElementById(id);
const make = (tag, text, name) => { const made = document.createElement(tag); if (text != null) made.textContent = text;
  if (name) made.className = name; return made; };
const ms = s => s == null ? "\\u2013" : s >= 1 ? (s < 10 ? s.toFixed(1) : s.toFixed(0)) + " s"
  : s >= .01 ? (s * 1000).toFixed(0) + " ms" : s > 0 && s < .00001 ? "<0.01 ms"
  : (s * 1000).toFixed(s >= .001 ? 1 : 2) + " ms";
const share = v => v == null ? "\\u2013" : Number((v * 100).toPrecision(3)) + "%";
const rate = v => v >= 10 ? Math.round(v).toLocaleString("en") : Number(v.toPrecision(2)).toString();
const size = b => b ? (b / 1048576).toFixed(0) + " MiB" : "\\u2013";
const ago = s => s < 90 ? s.toFixed(0) + " s" : s < 5400 ? (s / 60).toFixed(0) + " min" : (s / 3600).toFixed(0) + " h";

function measured(text, allowed, over) {
  const cell = make("td", null, "n");
  cell.append(make("span", text + (over ? " !" : ""), over ? "over" : ""));
  if (allowed != null) cell.append(make("small", "of " + allowed));
  return cell;
}
const latency = (seen, allowed) =>
  measured(ms(seen), allowed == null ? null : ms(allowed), seen != null && allowed != null && seen > allowed);

function replicas(s) {
  const cell = make("td", s.replicas.ready + "/" + s.replicas.wanted, "n"), c = s.scaling;
  if (c.min_replicas !== c.max_replicas) cell.append(make("small", c.min_replicas + "\u2013" + c.max_replicas));
  return cell;
}

function scalingNotes(c, note) {
  if (c.by_hand != null && (c.left_s != null || c.min_replicas !== c.max_replicas))
    note("held at " + c.by_hand + " by hand" + (c.left_s != null ? ", " + ago(c.left_s) + " more" : ""), "warning");
  if (c.holding) note(c.holding, "warning");
  if (c.trimmed) note(c.trimmed, "warning");
  if (c.reason) note(c.policy + ": " + c.reason, "dim");
  if (c.change) note(ago(Date.now() / 1000 - c.changed_at) + " ago: " + c.change, "dim");
}

function serviceRows(s) {
  const row = make("tr"), name = make("td"), phase = make("td"), b = s.budget;
  name.append(make("b", s.name), make("small", s.routes.length ? s.routes.join(" ") : "/v2/models/" + s.name));
  phase.append(make("span", s.phase, s.phase));
  const revision = make("td", "rev " + s.revision_number); revision.append(make("small", s.revision));
  row.append(name, phase, revision, replicas(s),
    make("td", rate(s.requests_per_s), "n"), latency(s.latency.p50_s, b.p50_s), latency(s.latency.p95_s, b.p95_s),
    latency(s.latency.p99_s, b.p99_s), measured(share(s.error_rate), b.error_rate == null ? null : share(b.error_rate),
      s.error_rate != null && b.error_rate != null && s.error_rate > b.error_rate));
  const rows = [row];
  const note = (text, kind) => {
    const line = make("tr"), cell = make("td", null, "note " + kind);
    cell.colSpan = 9; cell.append(make("div", text)); line.append(cell); rows.push(line);
  };
  if (!s.revision_number) revision.replaceChildren("\\u2013");
  if (s.message && s.phase !== "Ready") note(s.message, s.phase);
  scalingNotes(s.scaling, note);
  for (const hint of s.hints) note("hint: " + hint, "warning");
  const errors = Object.entries(s.outcomes).filter(([kind, n]) => n && !["ok", "degraded", "cached"].includes(kind));
  if (errors.length) note("not ok: " + errors.map(([kind, n]) => n + " " + kind).join(", "), "dim");
  for (const text of s.not_honoured) note("not honoured here: " + text, "dim");
  for (const earlier of rows.slice(0, -1)) earlier.className = "more";
  return rows;
}

function replicaRow(i) {
  const row = make("tr", null, "replica"), t = i.service_time;
  row.append(make("td", i.id), make("td", i.phase, i.phase), make("td", i.pid ?? "\\u2013", "n"),
    make("td", i.restarts, "n"), make("td", i.in_flight ?? 0, "n"), make("td", i.queued ?? 0, "n"),
    make("td", size(i.rss_bytes), "n"), make("td", ms(i.loop_lag_p99_s), "n"),
    make("td", t && t.samples ? ms(t.a_s) + " + n \\u00d7 " + ms(t.c_s) : "\\u2013", "n"));
  if (i.reason) row.cells[1].append(make("small", i.reason));
  return row;
}

async function refresh() {
  try {
    const [info, told, log] = await Promise.all([fetch("/v1/info").then(r => r.json()),
      fetch("/v1/services").then(r => r.json()), fetch("/v1/events").then(r => r.text())]);
    at("where").textContent = info.gateway;
    at("since").textContent = "up " + ago(Date.now() / 1000 - info.started_at) + ", pid " + info.pid +
      ", version " + info.version;
    at("services").replaceChildren(...told.services.flatMap(serviceRows));
    at("replicas").replaceChildren(...told.services.flatMap(s => s.instances.map(replicaRow)));
    at("none").hidden = told.services.length > 0;
    const over = told.services.filter(s => s.inside_budget === false || s.phase === "Failed").length;
    document.title = (over ? "(" + over + "!) " : "") + "Plimsoll";
    at("events").replaceChildren(...log.trim().split("\\n").filter(Boolean).slice(-15).reverse().map(text => {
      const e = JSON.parse(text), line = make("div", null, e.level);
      line.append(make("time", new Date(e.at * 1000).toTimeString().slice(0, 8)), make("b", e.service),
        make("span", e.message));
      return line;
    }));
    at("state").textContent = "";
  } catch (error) { at("state").textContent = "Plimsoll does not answer. Below stands what was last known."; }
}
refresh(); setInterval(refresh, 1000);
"""

PAGE = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Plimsoll</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="content-security-policy" content="default-src 'none'; style-src 'unsafe-inline'; \
script-src 'unsafe-inline'; connect-src 'self'">
<style>{_STYLE}</style></head><body>
<header><h1>Plimsoll</h1><span>gateway <code id="where"></code></span><span id="since"></span>
<a href="/metrics">metrics</a></header>
<p id="state" role="status"></p>
<div class="wide"><table><thead><tr><th>Service</th><th>Phase</th><th>Revision</th><th class="n">Replicas</th>
<th class="n">Requests/s</th><th class="n">p50</th><th class="n">p95</th><th class="n">p99</th><th class="n">Errors</th>
</tr></thead><tbody id="services"></tbody></table></div>
<p id="none" class="dim" hidden>No services; add one with <code>plimsoll apply FILE</code></p>
<h2>Replicas</h2>
<div class="wide"><table><thead><tr><th>Replica</th><th>Phase</th><th class="n">Pid</th><th class="n">Restarts</th>
<th class="n">In flight</th><th class="n">Queued</th><th class="n">Memory</th><th class="n">Loop lag p99</th>
<th class="n">Batch of n takes</th></tr></thead><tbody id="replicas"></tbody></table></div>
<h2>Events</h2><div id="events"></div>
<script>{_SCRIPT}</script></body></html>
"""
