"""Every key of a run, its unit and its default; the files of configs/ start from these and change what they need.

The defaults are the recipe of the spike design (Charbonnier, AdamW, warm-up and cosine) for the full-size network and a
data set in a folder. A key that is not here does not exist: the configuration is locked.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Returns the locked configuration with every key at its default."""
    config = ConfigDict(
        dict(
            seed=123,  # of everything random: initial weights, order of samples, crops, stochastic depth
            model=_model(),
            data=_data(),
            optimizer=_optimizer(),
            loss=dict(
                terms=("charbonnier", "perceptual"),  # what is added up; or FILE.py:NAME
                charbonnier_epsilon=1e-3,  # in units of the picture's range [0, 1]
                perceptual_weight=0.1,  # of the difference of VGG's features (relu3_3); 0 = none
                perceptual_network="vgg19",  # or "vgg16"
                perceptual_weights_file="",  # its converted weights; "" = the term is left out, with a message
            ),
            training=dict(
                steps=300_000,  # updates
                log_every=100,  # updates between two lines on the terminal and two points of the curves
                checkpoint_every=1_000,  # updates between two saves of `last`
                start_at_zero="",  # regular expression of dotted names of parameters that begin as 0; "" = none
                start_from="",  # weights file (.safetensors or folder) or workdir to begin with; what it lacks is fresh
                accumulate=1,  # parts of a batch that are computed one after the other, to save memory
                ema_decay=0.0,  # of the average of the parameters that is validated and restored with; 0 = no average
                skip_not_finite=0,  # updates with a loss or gradient that is not finite to leave out before stopping
                profile_at=0,  # update before which the profiler starts; 0 = never
                profile_updates=3,  # updates that it records
            ),
            validation=dict(
                every=1_000,  # updates; also after the last one
                frames=5,  # frames the network sees at once; a longer sequence is cut into such clips
                sequences=0,  # how many of the validation split are used, from the first; 0 = all
                noise_sigma=30.0,  # of 255, standard deviation of the noise (data.degradation="noise")
                pictures=2,  # sequences of which the middle frame is written as blur | recon | sharp
                metrics=("psnr", "psnr_y", "ssim", "ssim_y", "lpips"),  # what is measured; or FILE.py:NAME
                lpips_weights_file="",  # converted weights of LPIPS, by AlexNet or VGG; "" = it is not measured
                pictures_every=10_000,  # updates; a multiple of `every`; also after the last one
            ),
            mesh=dict(  # devices along each axis of the mesh; -1 (for one of them) = all that are left
                data=-1,  # splits the batch
                fsdp=1,  # splits the batch, and the parameters and optimizer state as well
                space=1,  # splits the rows of the pictures
                layout="standard",  # which axes there are and what they split; or FILE.py:NAME
                extra=(),  # sizes of further axes of such a layout, as "AXIS=SIZE"
            ),
            restore=dict(  # what `python -m spikejax.restore` does unless told otherwise
                tile=(5, 256, 256),  # frames, rows, columns that the network sees at once; 0 = all there are
                overlap=(2, 20, 20),  # frames, rows, columns that neighbouring tiles share
            ),
        )
    )
    return config.lock()


def _model() -> dict:
    return dict(
        backbone="vrt",  # the network; FILE.py:NAME for your own, see spikejax/models/restorer.py
        # One entry per stage. Stages 1-7 work at 1, 1/2, 1/4, 1/8, 1/4, 1/2, 1 of the resolution; the rest is stage 8.
        vrt=dict(
            upscale=1,  # output size / input size
            input_channels=3,  # RGB
            output_channels=3,  # RGB
            window=(6, 8, 8),  # frames, rows, columns
            depths=(8,) * 7 + (4,) * 4,  # attention blocks
            dims=(96,) * 7 + (120,) * 4,  # channels
            heads=(6,) * 11,  # attention heads; divide dims
            independent=(9, 10),  # indices into depths: windows of a single frame
            warp_frames=2,  # neighbours used by parallel warping
            deformable_groups=16,  # offset groups of the deformable convolutions; divide dims[:7]
            mutual_ratio=0.75,  # part of the blocks of stages 1-7 that have mutual attention
            mlp_ratio=2,  # hidden channels / channels
            drop_path=0.2,  # stochastic depth: highest probability of leaving out a block
            noise_map=False,  # whether a noise-level map is a fourth input channel
            flow="spynet",  # the network of the optical flows; FILE.py:NAME for your own, see spikejax/models/flows.py
        ),
        spike=dict(
            # "cross_attention" after a stage, "concat" before its attention, "none" (no spikes, VRT alone), or
            # FILE.py:NAME for your own, see spikejax/models/fusion.py.
            fusion="cross_attention",  # how a stage takes in spike features, see above
            bins=32,  # time bins of a frame's voxels
            channels=(96, 96, 96, 96),  # of the spike encoder, per scale; equal to dims of the stages they meet
            heads=4,  # of both temporal attentions
            residual="features",  # or "normalized_query"
            fused_stages=(1, 2, 3, 4),  # stages that take in spike features; or on to 7 at most
            zero_init=True,  # the fusion's last projections start at zero: the network begins as exactly VRT
        ),
        compute_dtype="float32",  # or "bfloat16"; parameters are float32 in both
        remat="none",  # what the backward pass computes again, to save memory: "blocks" (most of it) or "everything"
    )


def _data() -> dict:
    return dict(
        source="folder",  # or "tfds": shards of one; "moving_photographs": the embedded data set, needs no download
        root="",  # folder of the data set, or of its TFDS shards; empty = WORKDIR/data (moving_photographs only)
        # How the network's input is made of the sharp frames: "bicubic" or "gaussian" (smaller pictures, for
        # super-resolution), "noise", "interpolation" (the middle frame is sought); "none": it is read from blur/, whose
        # pictures are model.vrt.upscale times smaller than the sharp ones.
        degradation="none",  # of the sharp frames, see above
        noise_sigma=(0, 50),  # of 255, least and largest standard deviation of the noise (degradation="noise")
        frames=5,  # frames of a training clip that the network takes
        crop=256,  # pixels, side of the square training crops of the network's input
        batch_size=8,  # clips per update, over all devices
        workers=2,  # background threads that make batches; 0 = each batch when it is asked for
        flips=True,  # random mirroring, left-right and up-down
        rotate=True,  # random quarter turns
        reverse_time=False,  # also play clips backwards; leave off, spikes have a direction in time
        threshold_factor=1.0,  # each clip's spikes as if the camera's threshold were up to this many times as high
        scenes=dict(  # the embedded data set
            train_sequences=40,  # number
            val_sequences=6,  # number; made of other photographs
            frames=10,  # per sequence
            height=128,  # pixels
            width=160,  # pixels
            max_motion=20.0,  # pixels, within one exposure
        ),
    )


def _optimizer() -> dict:
    return dict(
        kind="adamw",  # or "adam", without weight decay
        peak_learning_rate=2e-4,  # reached after the warm-up
        final_learning_rate=0.0,  # at the end of the cosine
        warmup_steps=5_000,  # updates of linear warm-up
        beta1=0.9,  # decay of the mean of gradients
        beta2=0.99,  # decay of the mean of squared gradients
        epsilon=1e-8,  # added to the root of the latter
        weight_decay=1e-4,  # per update and unit of learning rate (AdamW)
        decay_vectors=True,  # whether norms and biases decay too; the recipe's AdamW knows no exceptions
        clip_norm=1.0,  # largest global norm of the gradient; 0 = not clipped
        frozen="",  # regular expression of dotted names of parameters that are not trained, such as "spynet"; "" = none
        slow="",  # the same, of parameters that are trained later and slower, such as "spynet|offset_"
        slow_steps=0,  # updates for which those are frozen
        slow_factor=1.0,  # of the learning rate, for those
    )
