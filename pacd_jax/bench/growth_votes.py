"""The work whose growth is measured: certificates, on every device."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax.bench import growth_work, work
from pacd_jax.certification import certify, votes
from pacd_jax.runtime import sharding

_BATCH = 200


def certification(
  *,
  samples: int = 2500,
  points: int = 4,
  width: int = 1,
  classes: int = 10,
  side: int = 16,
) -> growth_work.Work:
  """Certificates of points on every device, n0 = 100.

  Args:
    samples: n.
    points: images that are certified.
    width: of the network.
    classes: number of classes.
    side: of the images, in pixels.
  """
  model, shape = growth_work.network(width, classes, side), (side, side, 1)
  params = model.init(jax.random.key(0), shape)
  certify_points = certify.make_certifier(
    model.apply,
    sigma=work.SIGMA,
    n0=100,
    n=samples,
    alpha=0.001,
    batch_size=_BATCH,
    mesh=sharding.mesh(),
  )
  images = np.full((points, *shape), 0.5, np.float32)
  keys = jax.random.split(jax.random.key(1), points)
  return growth_work.Work(
    lambda: list(certify_points(params, images, keys)),
    _num_bytes_of_votes(width, classes, side),
    growth_work.num_parameters(params),
  )


@functools.cache
def _num_bytes_of_votes(width: int, classes: int, side: int) -> int:
  """What one call of the program that draws votes holds; it serves every n."""
  model, shape, spec = (
    growth_work.network(width, classes, side),
    (side, side, 1),
    jax.ShapeDtypeStruct,
  )
  key = jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0)))
  mesh = sharding.mesh()
  lowered = votes.draw.lower(
    jax.eval_shape(lambda key: model.init(key, shape), jax.random.key(0)),
    spec((votes.WINDOW, *shape), jnp.float32),
    spec((votes.WINDOW, *key.shape), key.dtype),
    spec((votes.WINDOW,), jnp.uint32),
    spec((votes.WINDOW,), jnp.int32),
    np.float32(work.SIGMA),
    apply=model.apply,
    batch_size=_BATCH,
    impl=str(jax.random.key_impl(jax.random.key(0))),
    mesh=mesh,
  )
  return growth_work.num_bytes(lowered.compile(), mesh.size)
