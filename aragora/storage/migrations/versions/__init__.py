"""One module per revision, numbered; never edited once released."""
