"""The defaults of a run; the files of configs/ start from these and change what they need.

They are the recipe of the spike design (Charbonnier, AdamW, warm-up and cosine) for the full-size network and a data
set in a folder. A key that is not here does not exist: the configuration is locked. What each key means, its unit and
its range stand in `spikejax.config.keys`.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The locked configuration with every key at its default."""
    config = ConfigDict(
        dict(
            seed=123,
            model=_model(),
            data=_data(),
            optimizer=_optimizer(),
            loss=dict(
                terms=("charbonnier", "perceptual"),
                charbonnier_epsilon=1e-3,
                perceptual_weight=0.1,
                perceptual_network="vgg19",
                perceptual_weights_file="",
            ),
            training=dict(
                steps=300_000,
                log_every=100,
                loggers=("tensorboard",),
                checkpoint_every=1_000,
                start_at_zero="",
                start_from="",
                accumulate=1,
                ema_decay=0.0,
                skip_not_finite=0,
                deterministic=False,
                profile_at=0,
                profile_updates=3,
            ),
            validation=dict(
                every=1_000,
                frames=5,
                sequences=0,
                middle_frame=False,
                noise_sigma=30.0,
                pictures=2,
                metrics=("psnr", "psnr_y", "ssim", "ssim_y", "lpips"),
                lpips_weights_file="",
                pictures_every=10_000,
            ),
            mesh=dict(
                data=-1,
                fsdp=1,
                space=1,
                layout="standard",
                extra=(),
            ),
            restore=dict(
                tile=(5, 256, 256),
                overlap=(2, 20, 20),
            ),
        )
    )
    return config.lock()


def _model() -> dict:
    return dict(
        backbone="vrt",
        # One entry per stage. Stages 1-7 work at 1, 1/2, 1/4, 1/8, 1/4, 1/2, 1 of the resolution; the rest is stage 8.
        vrt=dict(
            upscale=1,
            input_channels=3,
            output_channels=3,
            window=(6, 8, 8),
            depths=(8,) * 7 + (4,) * 4,
            dims=(96,) * 7 + (120,) * 4,
            heads=(6,) * 11,
            independent=(9, 10),
            warp_frames=2,
            deformable_groups=16,
            mutual_ratio=0.75,
            mlp_ratio=2.0,
            drop_path=0.2,
            noise_map=False,
            flow="spynet",
        ),
        spike=dict(
            fusion="cross_attention",
            bins=32,
            channels=(96, 96, 96, 96),
            heads=4,
            residual="features",
            fused_stages=(1, 2, 3, 4),
            zero_init=True,
            normalise="statistics",
            steps=56,
            time="none",
            time_reach=4,
            time_own_frame=2.0,
        ),
        compute_dtype="float32",
        precision="default",
        remat="none",
        kernels="auto",
    )


def _data() -> dict:
    return dict(
        source="folder",
        root="",
        seed=-1,
        degradation="none",
        noise_sigma=(0, 50),
        frames=5,
        crop=256,
        batch_size=8,
        workers=-1,
        flips=True,
        rotate=True,
        reverse_time=False,
        repeat_last=0,
        threshold_factor=1.0,
        scenes=dict(
            train_sequences=40,
            val_sequences=6,
            frames=10,
            height=128,
            width=160,
            max_motion=20.0,
        ),
    )


def _optimizer() -> dict:
    return dict(
        kind="adamw",
        peak_learning_rate=2e-4,
        final_learning_rate=0.0,
        warmup_steps=5_000,
        beta1=0.9,
        beta2=0.99,
        epsilon=1e-8,
        weight_decay=1e-4,
        decay_vectors=True,
        clip_norm=1.0,
        frozen="",
        slow="",
        slow_steps=0,
        slow_factor=1.0,
    )
