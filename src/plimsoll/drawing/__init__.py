"""What reports are drawn with: one page that opens offline, and the axes and lines of its pictures (SVG).

Text in, text out; knows nothing of what is drawn. `load` and `sim` share it.
"""
