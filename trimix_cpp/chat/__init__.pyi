from .conversation import Conversation as Conversation
from .conversation import Stats as Stats
from .conversation import template_of as template_of
from .saved import Turn as Turn
