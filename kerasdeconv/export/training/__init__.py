"""Training that knows of the file: for 8 bits, for many zeros, for few different weights.

The only package that stands on tf_keras and tensorflow-model-optimization.
"""
