"""Experiments too long for a notebook, each with its command: `make study NAME=gpt2_nano`.

A study can be stopped at any moment; the same command goes on. What it measured is written to `data/studies/<name>`,
beside a log that a person can read: hypothesis, change, result, decision.
"""
