"""A W&B run that always starts: with its own id, without a prompt, offline if the network is away."""

import logging
import os
import secrets
from pathlib import Path
from typing import Any

from kitsseg.tracking import run_ids, wandb_parts

log = logging.getLogger("kitsseg")

TRACKER = wandb_parts.TRACKER
# How long a run may wait for the server at its start, and to send what is left at its end, in s.
START_S, FINISH_S, ANSWER_S = 30.0, 120.0, 5.0
# How much a killed process may lose, in s; W&B would hold back 15.
FLUSH = "x_transaction_log_flush_interval", 1.0


def start(folder: Path, offline: bool, settings: dict[str, Any], **about: Any) -> Any:
    """Start the run of ``folder``, or go on with it where it was begun before.

    Args:
        folder: of the run; its W&B files lie in ``folder/wandb``, its id in ``folder/tracking.json``.
        offline: keep it there for ``wandb sync``. ``WANDB_MODE`` can only say so, too, or ``disabled``.
        settings: of `wandb.Settings`.
        about: what `wandb.init` takes: project, entity, group, name, job_type, tags.

    Returns:
        The `wandb.Run`.
    """
    import wandb

    folder = folder.resolve()
    wanted = mode(offline)
    number = run_ids.read(folder, TRACKER).get("id")
    # Random, not drawn from a seeded generator: two runs with one seed are two runs.
    number = secrets.token_hex(8) if number is None else number
    place = {name: about.get(name) for name in ("project", "entity", "group")}
    server = settings.get("base_url")
    run_ids.keep(folder, TRACKER, id=number, offline=offline, server=server, **place)
    # Tables are staged there until they are sent; by default that is somewhere in the home.
    os.environ["WANDB_DATA_DIR"] = str(folder / "wandb")
    limits = {"init_timeout": START_S, "finish_timeout": FINISH_S, "login_timeout": 1}
    if FLUSH[0] in wandb.Settings.model_fields:  # not one of its promised settings
        limits[FLUSH[0]] = FLUSH[1]
    given = {"silent": True, "reinit": "finish_previous", **limits, **commit(), **settings}
    given["finish_timeout_raises"] = True  # by which `wandb_parts.finish` knows what wasn't sent
    fixed = {"dir": str(folder), "id": number, "resume": "allow", **about}
    (folder / "wandb").mkdir(parents=True, exist_ok=True)
    wandb_parts.unsent(folder)
    if wanted == "online":
        reason = unreachable(wandb.setup().settings.base_url if server is None else server)
        if not reason:
            try:
                run = wandb.init(mode="online", settings=wandb.Settings(**given), **fixed)
                run_ids.keep(folder, TRACKER, open=Path(run.settings.sync_dir).name)
                return run
            except Exception as error:
                reason = " ".join(str(error).split())[:200]
                wandb.teardown()  # the service holds on to the id of a run that couldn't start
        log.warning(f"W&B: {reason}; the run is kept offline: {wandb_parts.command(folder)}")
        wanted = "offline"
    return wandb.init(mode=wanted, settings=wandb.Settings(**given), **fixed)


def mode(offline: bool) -> Any:
    """``online``, ``offline`` or ``disabled``: the environment may hold back what the config sends."""
    asked = os.environ.get("WANDB_MODE", "")
    if asked == "disabled":
        return asked
    return "offline" if offline or asked in ("offline", "dryrun") else "online"


def unreachable(url: str) -> str:
    """Why nothing can be sent to the server at ``url``; empty if it answers and there is a key."""
    import requests
    import wandb

    netrc = requests.utils.get_netrc_auth(url)
    named = [os.environ.get(name) for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")]
    if not any([*named, netrc, wandb.setup().settings.api_key]):
        return "no API key (wandb login, or WANDB_API_KEY)"
    try:
        requests.head(url, timeout=ANSWER_S, allow_redirects=False)
    except (requests.RequestException, ValueError) as error:
        return f"{url} doesn't answer ({type(error).__name__})"
    return ""


def commit() -> dict[str, Any]:
    """kitsseg's own checkout as the run's code, not whichever one the command was given in."""
    root = Path(__file__).resolve().parents[2]
    return {"git_root": str(root)} if (root / ".git").exists() else {"disable_git": True}
