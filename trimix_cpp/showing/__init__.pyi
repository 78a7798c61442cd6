from .plots import HeatMap as HeatMap
from .plots import check_plot as check_plot
from .plots import draw_heat_maps as draw_heat_maps
from .progress import bar as bar
