"""Spike streams: their files, their counts per pixel and bin, and classical pictures made of them."""
