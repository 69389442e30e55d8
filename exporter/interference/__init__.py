"""Interference: batch work that hurts latency-sensitive work, noticed, named and eased off."""
