"""The jobs of a run or sweep: their folders and status, their processes, and why they fail.

`sweep` runs a job and finishes a sweep with its tables, `launch` starts a job's processes, `job_folder`
decides whether a job is complete or can be resumed, and `study` resumes a search by Optuna.
"""
