"""The gateway's cost beside its peers', measured on the machine at hand."""
