"""Drawings of the topology of hosts, as SVG, DOT, Mermaid and text."""
