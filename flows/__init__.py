"""The podcast pipeline: from raw listening events to a star schema that passed every gate."""

import os

# Usage statistics of the libraries are off unless somebody switches them on; set before they are imported.
QUIET = {
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}
for _name, _value in QUIET.items():
    os.environ.setdefault(_name, _value)
