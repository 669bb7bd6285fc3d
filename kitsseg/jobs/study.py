"""A search by Optuna that goes on: what is left of it, beginning with trials that were cut off."""

import logging
import warnings

log = logging.getLogger("kitsseg")


def trials_left(storage: str, name: str, wanted: int) -> tuple[int, int]:
    """How many trials a study lacks, and how many it has in whatever state.

    No other process may be at the study: a trial that runs is then one that was cut off. It is marked as
    failed, and its values are the first to be tried again, so that its job goes on in its folder.

    Args:
        storage: the study's address.
        name: the study's; it need not be there yet.
        wanted: trials that have come to a value, in all.
    """
    import optuna
    from optuna.storages import RetryFailedTrialCallback
    from optuna.trial import TrialState

    if name not in {each.study_name for each in optuna.get_all_study_summaries(storage)}:
        return wanted, 0
    study = optuna.load_study(name, storage)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        for trial in study.get_trials(states=(TrialState.RUNNING,)):
            study.tell(trial.number, state=TrialState.FAIL)
            RetryFailedTrialCallback()(study, trial)
            log.info(f"trial {trial.number} was cut off; it goes on")
    complete = len(study.get_trials(states=(TrialState.COMPLETE,)))
    return max(0, wanted - complete), len(study.trials)


def is_fruitless(storage: str, name: str) -> bool:
    """Whether no trial of the study came to a value."""
    import optuna
    from optuna.trial import TrialState

    return not optuna.load_study(name, storage).get_trials(states=(TrialState.COMPLETE,))
