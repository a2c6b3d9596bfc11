"""What was measured of a service beforehand: `NAME.profile.json` beside its file, as `plimsoll profile` writes it."""

from plimsoll.core.errors import UserError
from plimsoll.insight.profile import Profile, read_profile
from plimsoll.spec import ModelService


def profile_beside(service: ModelService) -> Profile | None:
    """None: there is none. Raises UserError for one that can't be read."""
    path = service.directory / f"{service.name}.profile.json"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    return read_profile(text, str(path))
