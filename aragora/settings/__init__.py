"""Every variable the application reads, in one table: the fields of `Settings`.

`load` checks an environment against the table, and `docs/reference/settings.md` is generated from it
(`python -m aragora.settings`), so neither can drift. A secret may also be given as a file, the way containers mount
them: `ARAGORA_API_TOKEN_FILE=/run/secrets/token`.
"""

from aragora.settings.agent_variables import AGENT_VARIABLES, AgentVariable
from aragora.settings.environment import default_data_dir, load, unknown
from aragora.settings.forms import Form, Setting
from aragora.settings.table import SETTINGS, Settings

__all__ = [
    "AGENT_VARIABLES",
    "SETTINGS",
    "AgentVariable",
    "Form",
    "Setting",
    "Settings",
    "default_data_dir",
    "load",
    "unknown",
]
