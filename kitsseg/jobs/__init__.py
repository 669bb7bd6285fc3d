"""The jobs of a run or sweep: folders and status, processes, and failures.

`sweep` runs a job, finishes a sweep with its tables and resumes a search, `launch` starts a job's
processes, and `job_folder` decides whether a job is complete or can be resumed.
"""
