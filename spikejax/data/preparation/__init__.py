"""Published data sets, checked, counted and written in our layout, frame by frame.

On its way a frame is an object of these classes, one after the other:

    SourceFrame   published_layouts  a name that some file speaks of: its paths, or what is missing. Nothing is read.
    PlannedFrame  frame_selection    the same, if its pictures' headers and its stream's size fit: no path is missing,
                                     its window is known. The others become a `DroppedFrame` with the reason.
    FrameJob      frame_job          a planned frame, and what to write of it where: what a worker is sent.
    FrameContent  frame_job          a job's pictures and spikes, read and counted; it stays in the worker.
    FrameRecord   journal            what has become of a job, without arrays: what the worker returns, a line on disk.

`SourceSequence` and `PlannedSequence` hold the first two in order; a dropped frame splits a sequence into several
planned ones, which a `PreparationPlan` lists. Apart from this way, `verify` sends workers a `FrameCheck` of frames that
are written already, and gets a `FrameReport` back.
"""
