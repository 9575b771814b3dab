"""Published data sets, checked, counted and written in the layout that training reads."""
