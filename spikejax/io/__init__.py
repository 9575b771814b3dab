"""The ground floor: files of pictures, video, arrays, JSON and weights, written whole or not at all."""
