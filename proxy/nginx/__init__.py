"""Reading nginx's configuration and writing the gateway's: `aragora-proxy import-nginx FILE`.

`blocks` reads nginx's files, `report` collects settings and remarks, `directives` translates single directives,
`locations` and `servers` what they make up, `importer` a whole file.
"""
