"""A page on this computer on which one asks the whole system: `make demo`.

Read `offers.py` (what the page is given to choose from), `pictures.py` (files from outside), `answers.py` (what becomes
of a question, for the page to show), `desk.py` (one question at a time), `gate.py` (who may ask, and how much) and
`server.py`; then the page itself, in the folder `page`, which loads nothing from anywhere else.
"""
