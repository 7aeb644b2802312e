"""What a process tells about itself. Every line and every metric says which cluster and process it is from.

logs      `configure` once per process, `get_logger` everywhere; text for people, JSON for machines
redact    what never reaches a log: keys, tokens, passwords; and what would forge or flood one
metrics   every metric's name, in one place
ration    how often a minute strangers can make us say something
reminder  how often we say that something does not work yet
"""

from headscale_saas.observe.logs import configure, get_logger
from headscale_saas.observe.metrics import Metrics
from headscale_saas.observe.ration import Ration
from headscale_saas.observe.reminder import Reminder

__all__ = ["Metrics", "Ration", "Reminder", "configure", "get_logger"]
