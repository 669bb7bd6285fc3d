"""Turn the records of finished runs into tables and one self-contained HTML page.

`run_record` and `runs` read result files, `table_rows` groups runs into table rows, `comparisons` and
`strata` compute statistics, `tables` formats Table 1, and `html.page` writes all of it.
"""
