"""Adversarial training: a generator against a discriminator, by Keras' own `fit`."""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv.losses import adversarial as losses
from kerasdeconv.train.gradients import (
    check_backend,
    input_gradients,
    stateless,
    value_and_gradients,
)


class TwoOptimizers(keras.optimizers.Optimizer):
    """The optimizers of two networks in one, so that Keras' loops and checkpoints know of both.

    A running average of weights (`use_ema`) in either of them takes the weights' place in the end,
    as always.

    Args:
        generator: The generator's optimizer, which also says what the learning rate is.
        discriminator: The discriminator's.
        name: Name.
    """

    def __init__(
        self,
        generator: keras.optimizers.Optimizer,
        discriminator: keras.optimizers.Optimizer,
        name: str = "two_optimizers",
    ) -> None:
        super().__init__(0.0, name=name)
        self.generator, self.discriminator = generator, discriminator
        self.built = True

    @property
    def variables(self) -> list[keras.Variable]:
        """Those of both."""
        return [*self.generator.variables, *self.discriminator.variables]

    @property
    def iterations(self) -> Any:
        """The generator's steps."""
        return self.generator.iterations

    @property
    def learning_rate(self) -> Any:
        """The generator's."""
        return self.generator.learning_rate

    def finalize_variable_values(self, var_list: Any) -> None:
        """Lets both put averages in the weights' place."""
        for optimizer in (self.generator, self.discriminator):
            optimizer.finalize_variable_values(optimizer._trainable_variables)

    def save_own_variables(self, store: Any) -> None:
        """Saves nothing: both are saved as what they are."""

    def load_own_variables(self, store: Any) -> None:
        """Loads nothing, as nothing was saved."""


class Adversarial(keras.Model):
    """A generator and a discriminator, to be trained against each other.

    In each step a batch of codes and of real pictures is split into `critic_steps` parts; the
    discriminator learns from one after the other, then the generator from the last part's codes.
    The networks are plain models: after `fit` they have learned.

    Args:
        generator: From codes to pictures.
        discriminator: From pictures to scores (logits).
        loss: "non_saturating", "hinge" or "wasserstein".
        smoothing: What the answer "real" lacks of 1 ("non_saturating").
        penalty: Weight of the gradient penalty between real and made pictures; 10 in WGAN-GP.
        r1: Weight of the R1 penalty at real pictures.
        critic_steps: Steps of the discriminator for one of the generator; 5 in WGAN-GP.
        unit: The range of the pictures that is 1 to the penalties: half of [0, 255], since the
            papers' pictures are in [-1, 1].
        seed: Seed of the points between real and made pictures.
        name: Name of the model.

    Raises:
        ValueError: An argument is out of range, the networks do not fit together, or the backend
            is neither TensorFlow nor JAX.

    Example:
        >>> game = Adversarial(DCGANGenerator(), DCGANDiscriminator(), loss="hinge")
        >>> game.compile(keras.optimizers.Adam(2e-4, beta_1=0.5))
        >>> game.fit(CodedPictures(pictures, code=100), epochs=20)
    """

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        *,
        loss: str = "non_saturating",
        smoothing: float = 0.0,
        penalty: float = 0.0,
        r1: float = 0.0,
        critic_steps: int = 1,
        unit: float = 127.5,
        seed: int = 0,
        name: str = "adversarial",
    ) -> None:
        super().__init__(name=name)
        check_backend("Adversarial training")
        if generator.output_shape[1:] != discriminator.input_shape[1:]:
            raise ValueError(
                f"The discriminator takes pictures of shape {discriminator.input_shape[1:]}. "
                f"Received: a generator of {generator.output_shape[1:]}"
            )
        self.objective = losses.adversarial_loss(loss)
        if not 0 <= smoothing < 0.5 or (smoothing and not self.objective.smooths):
            raise ValueError(
                "smoothing must be less than 0.5, and 0 but for the loss 'non_saturating'. "
                f"Received: {smoothing} for {loss!r}"
            )
        if min(penalty, r1) < 0 or critic_steps < 1 or unit <= 0:
            raise ValueError(
                "penalty and r1 must be 0 or more, critic_steps 1 or more, unit more than 0. "
                f"Received: {penalty}, {r1}, {critic_steps}, {unit}"
            )
        self.generator, self.discriminator = generator, discriminator
        self.options = {"smoothing": smoothing} if smoothing else {}
        self.penalty, self.r1 = penalty, r1
        self.critic_steps, self.unit = critic_steps, unit
        self.seeds = keras.random.SeedGenerator(seed)
        self.figures = {
            "generator_loss": keras.metrics.Mean("generator_loss"),
            "discriminator_loss": keras.metrics.Mean("discriminator_loss"),
        }
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Turns codes into pictures."""
        return self.generator(inputs, training=training)

    def compile(
        self,
        generator_optimizer: keras.optimizers.Optimizer,
        discriminator_optimizer: keras.optimizers.Optimizer | None = None,
        **options: Any,
    ) -> None:
        """Sets the optimizers.

        Args:
            generator_optimizer: The generator's.
            discriminator_optimizer: The discriminator's; one like the generator's, without a
                running average, when not given.
            **options: Those of `keras.Model.compile` that are no losses or metrics.
        """
        if discriminator_optimizer is None:
            config = generator_optimizer.get_config() | {"use_ema": False}
            discriminator_optimizer = type(generator_optimizer).from_config(config)
        generator_optimizer.build(self.generator.trainable_variables)
        discriminator_optimizer.build(self.discriminator.trainable_variables)
        super().compile(TwoOptimizers(generator_optimizer, discriminator_optimizer), **options)

    def train_step(self, *arguments: Any) -> Any:
        """Learns from a batch of codes and pictures; on JAX with the state, as Keras wants it."""
        if keras.backend.backend() != "jax":
            return self._learn(*arguments)
        values, batch = arguments
        groups = (
            self.trainable_variables,
            self.non_trainable_variables,
            self.optimizer.variables,
            self.metrics_variables,
        )
        return stateless(lambda: self._learn(batch), groups, values)

    def test_step(self, *arguments: Any) -> Any:
        """Computes both losses of a batch, as `train_step` gets it."""
        if keras.backend.backend() != "jax":
            return self._judge(*arguments)
        values, batch = arguments
        groups = (self.trainable_variables, self.non_trainable_variables, self.metrics_variables)
        return stateless(lambda: self._judge(batch), groups, values)

    def _learn(self, batch: tuple[Any, ...]) -> dict[str, Any]:
        codes, pictures = batch[:2]
        if pictures.shape[0] is not None and pictures.shape[0] % self.critic_steps:
            raise ValueError(
                f"A batch must divide into {self.critic_steps} critic_steps. "
                f"Received: {pictures.shape[0]} pictures"
            )
        parts = [keras.ops.split(each, self.critic_steps) for each in (codes, pictures)]
        for code, real in zip(*parts, strict=True):
            value = self._teach_discriminator(code, keras.ops.cast(real, "float32"))
            self.figures["discriminator_loss"].update_state(value)
        self.figures["generator_loss"].update_state(self._teach_generator(code))
        return self._figures()

    def _judge(self, batch: tuple[Any, ...]) -> dict[str, Any]:
        codes, pictures = batch[:2]
        real = self.discriminator(pictures, training=False)
        fake = self.discriminator(self.generator(codes, training=False), training=False)
        value = self.objective.discriminator(real, fake, **self.options)
        self.figures["discriminator_loss"].update_state(value)
        self.figures["generator_loss"].update_state(self.objective.generator(fake))
        return self._figures()

    def _figures(self) -> dict[str, Any]:
        return {name: metric.result() for name, metric in self.figures.items()}

    def _teach_discriminator(self, codes: Any, real: Any) -> Any:
        fake = keras.ops.stop_gradient(self.generator(codes, training=True))

        def objective() -> Any:
            scores = (self.discriminator(each, training=True) for each in (real, fake))
            return self.objective.discriminator(*scores, **self.options) + self._penalties(
                real, fake
            )

        variables = self.discriminator.trainable_variables
        value, gradients = value_and_gradients(objective, variables, self.variables)
        self.optimizer.discriminator.apply(gradients, variables)
        return value

    def _teach_generator(self, codes: Any) -> Any:
        def objective() -> Any:
            fake = self.generator(codes, training=True)
            return self.objective.generator(self.discriminator(fake, training=True))

        variables = self.generator.trainable_variables
        value, gradients = value_and_gradients(objective, variables, self.variables)
        self.optimizer.generator.apply(gradients, variables)
        return value

    def _penalties(self, real: Any, fake: Any) -> Any:
        """The weighted penalties of slopes, with pictures in units of `unit`."""
        total = 0.0
        if self.penalty:
            shape = (keras.ops.shape(real)[0],) + (1,) * (len(real.shape) - 1)
            share = keras.random.uniform(shape, seed=self.seeds)
            between = share * real + (1 - share) * fake
            total += self.penalty * losses.gradient_penalty(self._slopes(between))
        if self.r1:
            total += self.r1 * losses.r1_penalty(self._slopes(real))
        return total

    def _slopes(self, pictures: Any) -> Any:
        return self.unit * input_gradients(
            lambda x: self.discriminator(x, training=True), pictures, self.variables
        )
