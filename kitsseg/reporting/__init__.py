"""Turn the records of finished runs into tables and one self-contained HTML page.

`runs` finds and reads records, `tables` computes and formats all tables, and `html.page` writes them.
"""
