"""What is written into an object and reported about it.

`patch` compares the stored status with the desired one; `transitions` derives the log line, the Event, the status and
the metric of one change from the old and the new observation; `trouble` reports what ended a reconcile from outside.
"""
