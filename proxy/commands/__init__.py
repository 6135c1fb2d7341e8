"""What a terminal or a script asks of a gateway that runs: status, top, and the commands of the admin address."""
