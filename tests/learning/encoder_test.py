"""Can an encoder see what a few pixels do in front of a picture that hardly changes, but for the
shifts of training?
"""

import envpool
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from muzero_jax.networks import resnet, vector
from muzero_jax.networks.model import make_model
from muzero_jax.networks.scalars import Support
from muzero_jax.replay.augmentation import shift
from muzero_jax.targets.returns import lambda_returns

DISCOUNT, GAMES, STEPS, PIXELS = 0.988, 16, 900, 48


@pytest.fixture(scope="module")
def played():
  """Random play of Breakout: stacks u8[T, B, 4, H, W] and the discounted returns f32[T, B] that
  followed, to the loss of a life.
  """
  shape = dict(img_height=PIXELS, img_width=PIXELS, stack_num=4)
  games = envpool.make(
    "Breakout-v5", env_type="gym", num_envs=GAMES, seed=7, noop_max=30, use_fire_reset=True, **shape
  )
  (stacks, info), random = games.reset(), np.random.default_rng(0)
  seen, rewards, ends, lives = [], [], [], info["lives"]
  for _ in range(STEPS):
    seen.append(stacks)
    stacks, reward, terminated, truncated, info = games.step(
      random.integers(0, 4, GAMES).astype(np.int32)
    )
    rewards.append(np.sign(reward))
    ends.append(terminated | truncated | (info["lives"] < lives))
    lives = info["lives"]
  nothing = jnp.zeros((STEPS, GAMES))  # values, for nothing bootstraps
  returns = jax.vmap(lambda_returns, 1, 1)(
    jnp.array(rewards, jnp.float32), DISCOUNT * ~jnp.array(ends), nothing, nothing + 1
  )
  return np.array(seen), np.asarray(returns)


@pytest.mark.usefixtures("compiled_as_usual")
@pytest.mark.parametrize("network, size", [(resnet.resnet, "tiny"), (vector.vector, "nano")])
def test_the_value_of_random_play_is_learned_from_pixels(played, network, size):
  """1,500 gradient steps of 64 shifted examples; then values explain 15 % of how returns vary in
  later steps.

  `resnet` with layer norms over its maps was at 0 % after 3,000, though not without shifts.
  """
  stacks, returns = played
  support = Support(10)
  model = make_model(network, size, 4, support, jax.ShapeDtypeStruct(stacks.shape[2:], np.uint8))
  params, optimizer = model.init(jax.random.key(0)), optax.adam(1e-3)
  half = STEPS * 2 // 3
  frames, wanted = jnp.asarray(stacks[:half]), jnp.asarray(returns[:half])

  def logits(params, stack):
    return model.predict(params, model.encode(params, stack))[1]

  def step(carry, key):
    params, state = carry
    draw, *keys = jax.random.split(key, 65)
    t, i = jax.random.randint(draw, (2, 64), 0, jnp.array([[half], [GAMES]]))
    shifted = jax.vmap(lambda key, stack: shift(key, stack, 2))(jnp.stack(keys), frames[t, i])

    def loss(params):
      return optax.softmax_cross_entropy(
        logits(params, shifted), support.encode(wanted[t, i])
      ).mean()

    updates, state = optimizer.update(jax.grad(loss)(params), state, params)
    return (optax.apply_updates(params, updates), state), None

  learn = jax.jit(lambda carry, key: jax.lax.scan(step, carry, jax.random.split(key, 1500))[0])
  carry, key = (params, optimizer.init(params)), jax.random.key(1)
  params, _ = learn.lower(carry, key).compile()(carry, key)
  later = slice(half + 100, STEPS - 100, 2)  # returns are complete
  value = support.decode(jax.jit(jax.vmap(logits, (None, 0)))(params, jnp.asarray(stacks[later])))
  error = np.asarray(value) - returns[later]
  assert 1 - error.var() / returns[later].var() > 0.15
