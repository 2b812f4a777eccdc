"""System degradation (section 4.1): a service that keeps its latency limit by slicing its network."""

from simulations.degradation.run import simulate_degradation
from simulations.degradation.settings import SCALES, DegradationSettings, Scale

__all__ = ["SCALES", "DegradationSettings", "Scale", "simulate_degradation"]
