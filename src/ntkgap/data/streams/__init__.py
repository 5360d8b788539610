"""Streams of tasks that are learned one after the other."""

from ntkgap.data.streams.loading import STREAMS, load_stream
from ntkgap.data.streams.own import stream_of
from ntkgap.data.streams.rotated import rotate
from ntkgap.data.streams.stream import Task, TaskStream, score

__all__ = ["STREAMS", "Task", "TaskStream", "load_stream", "rotate", "score", "stream_of"]
