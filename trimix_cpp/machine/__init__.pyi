from .links import take_over as take_over
from .places import Place as Place
from .places import find_by_hash as find_by_hash
from .places import model_files as model_files
from .places import places as places
from .tokenizers import Group as Group
from .tokenizers import ModelFile as ModelFile
from .tokenizers import by_tokenizer as by_tokenizer
