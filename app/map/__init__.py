"""The map: a page written by folium, shown by Qt WebEngine, fed only by the program itself."""
