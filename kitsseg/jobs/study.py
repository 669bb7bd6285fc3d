"""Resume a search by Optuna."""

import logging
import warnings

log = logging.getLogger("kitsseg")


def remaining_trials(storage: str, name: str, wanted: int) -> tuple[int, int]:
    """Return how many trials a study still needs, and how many it has in any state.

    No other process may use the study: a running trial is then one that was interrupted. It is marked
    as failed and its values are tried first, so that its job is resumed in its folder.

    Args:
        storage: address of the study's database.
        name: name of the study, which need not exist yet.
        wanted: number of trials that have a value in the end.
    """
    import optuna
    from optuna.storages import RetryFailedTrialCallback
    from optuna.trial import TrialState

    if name not in {summary.study_name for summary in optuna.get_all_study_summaries(storage)}:
        return wanted, 0
    study = optuna.load_study(name, storage)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        for trial in study.get_trials(states=(TrialState.RUNNING,)):
            study.tell(trial.number, state=TrialState.FAIL)
            RetryFailedTrialCallback()(study, trial)
            log.info(f"trial {trial.number} was interrupted; resuming it")
    complete = len(study.get_trials(states=(TrialState.COMPLETE,)))
    return max(0, wanted - complete), len(study.trials)
