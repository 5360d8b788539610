"""Watching a training run: quantities that say how far it is from the kernel regime, one file each."""

from ntkgap.practice.monitor.activation_signs import outputs_and_signs, signs_changed
from ntkgap.practice.monitor.checkpoints import CheckpointComparison, compare_checkpoints
from ntkgap.practice.monitor.curvature import LeadingCurvature, curvature_of_kernel
from ntkgap.practice.monitor.kernel_movement import KernelMovement, kernel_movement, shares_by_layer
from ntkgap.practice.monitor.kernel_shape import alignment, effective_rank
from ntkgap.practice.monitor.linearization_gap import Linearization, linearization_gap
from ntkgap.practice.monitor.monitor import Monitor
from ntkgap.practice.monitor.networks import present_network, start_network
from ntkgap.practice.monitor.parameter_change import parameter_change, parameter_change_by_layer
from ntkgap.practice.monitor.sampled_outputs import SampledOutputs
from ntkgap.practice.monitor.stability_limit import stability_limit
from ntkgap.practice.monitor.steps import equal_ratio_steps

__all__ = [
    "CheckpointComparison",
    "KernelMovement",
    "LeadingCurvature",
    "Linearization",
    "Monitor",
    "SampledOutputs",
    "alignment",
    "compare_checkpoints",
    "curvature_of_kernel",
    "effective_rank",
    "equal_ratio_steps",
    "kernel_movement",
    "linearization_gap",
    "outputs_and_signs",
    "parameter_change",
    "parameter_change_by_layer",
    "present_network",
    "shares_by_layer",
    "signs_changed",
    "stability_limit",
    "start_network",
]
