"""What to do next with one object: pure functions from facts to one action.

`actions` defines the facts and the actions; `next_action` is the decision function; `deletion`, `adoption` and `failure`
are its branches; `progress` derives the conditions from what was observed.
"""
