"""Results of several sites: records that sites exchange, and one table of all sites.

`exchange` writes and reads records without paths, names and images, `meta_analysis` combines the means
of the sites, and `combine` applies it to table rows.
"""
