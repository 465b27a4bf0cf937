"""Calls every public constructor and function with wrong arguments; prints what came of it.

A process of its own: tests hold the package to its annotations, which would answer first. Which
values are wrong for a parameter is read off its annotation.

    python tests/bad_inputs.py [share] > results.json
"""

import importlib
import inspect
import json
import os
import random
import re
import sys
import tempfile
import traceback
import types
import typing
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import lrnn_jax as lrnn
from lrnn_jax import (
    environments,
    inference,
    learning,
    networks,
    overlaps,
    reduced,
    rules,
    stability,
    sweeps,
    tasks,
)

jax.config.update("jax_enable_x64", True)
PACKAGES = ("", "overlaps", "networks", "reduced", "tasks", "environments", "rules", "learning")
PACKAGES += ("stability", "inference", "sweeps")
PACKAGE = Path(lrnn.__file__).parent
DT = 0.1
NET = lrnn.LowRankRNN.normalised(6, dt=DT, key=jr.key(0))
BENT = lrnn.LowRankRNN.normalised(6, dt=DT, key=jr.key(0), activation=lrnn.Erf())
DENSE = lrnn.DenseRNN(np.eye(3) / 2, np.ones((3, 1)), np.ones((1, 3)), dt=DT)
RED = lrnn.reduce(NET)
OVER = lrnn.LowRankRNN.normalised(6, dt=DT, key=jr.key(0), bulk=lrnn.RandomBulk(0.3, key=jr.key(1)))
LIMIT = lrnn.reduce(OVER, words=4)
Q = NET.overlaps
FILTER = lrnn.ExponentialFilter(0.2, DT, 5)
NOISY = lrnn.ExponentialFilter(0.2, DT, 5, label_noise=0.1)
PLANT = lrnn.KIntegrator(2, dt=DT)
LOOP = lrnn.ClosedLoop(PLANT, 5, control_cost=0.1)
FLIPS = lrnn.FlipFlop(DT, 60, 2)
DESCENT = lrnn.Descent(0.01)
THIN = lrnn.DenseRNN(np.zeros((5, 5)), np.ones((5, 1)), np.ones((1, 5)) / 5, dt=DT)
THIN_CURVE = lrnn.learn(lrnn.reduce(THIN), FILTER, DESCENT, epochs=2)
CURVE = lrnn.learn(RED, FILTER, DESCENT, epochs=2)
VALUES = np.array([[1.0 + 0.1j, 1.0 - 0.1j], [0.5, 0.4], [0.3, 0.2]])
VECTORS = {f: np.ones((6, 1)) * (i + 1) for i, f in enumerate("zvmu")}
KEY = jr.key(0)
DESIGN = {
    "objective": tasks.MixedFilter(np.array([0.2, 1.0]), np.array([1.0, 0.0]), dt=DT, steps=5),
    "method": DESCENT,
    "epochs": (0, 1),
    "observe": inference.Visible(),
    "noise": 0.1,
    "starts": 1,
    "key": KEY,
}
SEEN = inference.Observations(inference.Visible(), np.ones((4, 4)), epochs=range(4), noise=0.1)
STATES = np.asarray(jr.normal(KEY, (8, 6, 3)))
RECORDED = inference.Recorded(
    Q, jnp.stack([Q.gram] * 3), jnp.ones(6), jnp.array(0.1), jnp.array(DT)
)


class Gym:
    """As little of a NeuroGym task as its trials take."""

    dt, action_space = 20, types.SimpleNamespace(n=2)
    ob, gt = np.ones((4, 1)), np.zeros(4, int)

    @property
    def unwrapped(self):
        return self

    def reset(self):
        """Nothing to do."""

    def seed(self, seed):
        """Nothing random."""

    def get_wrapper_attr(self, name):
        return self.reset


# name: callable, arguments with which it works
CALLS = {
    "LowRankRNN": (lrnn.LowRankRNN, {**VECTORS, "b": np.ones(6), "dt": DT}),
    "LowRankRNN.normalised": (lrnn.LowRankRNN.normalised, {"n": 6, "dt": DT, "key": KEY}),
    "LowRankRNN.with_overlaps": (
        lrnn.LowRankRNN.with_overlaps,
        {"overlaps": Q, "n": 6, "dt": DT, "key": KEY},
    ),
    "DenseRNN": (
        lrnn.DenseRNN,
        {"w": np.eye(3), "w_in": np.ones((3, 1)), "w_out": np.ones((1, 3)), "dt": DT},
    ),
    "CurrentRNN": (
        lrnn.CurrentRNN,
        {"w": np.eye(3), "w_in": np.ones((3, 1)), "w_out": np.ones((1, 3)), "dt": DT},
    ),
    "TrialSet": (
        lrnn.TrialSet,
        {"inputs": np.ones((4, 5)), "target": np.ones((4, 5)), "dt": DT},
    ),
    "TrialSet.load": (
        lrnn.TrialSet.load,
        {"source": {"inputs": np.ones((4, 5)), "target": np.ones((4, 5)), "dt": DT}},
    ),
    "CrossEntropy": (tasks.CrossEntropy, {"classes": 3}),
    "fixed_points": (lrnn.fixed_points, {"model": RED, "key": KEY, "starts": 3}),
    "fixed_points_of_learning": (
        stability.fixed_points_of_learning,
        {"curve": CURVE, "key": KEY, "starts": 3},
    ),
    "CheckpointedRNN": (networks.CheckpointedRNN, {"network": NET}),
    "rollout": (NET.rollout, {"inputs": np.ones((4, 1))}),
    "states": (NET.states, {"inputs": np.ones((4, 1))}),
    "OddActivation": (lrnn.OddActivation, {"function": jnp.tanh}),
    "SmoothActivation": (lrnn.SmoothActivation, {"function": jnp.tanh}),
    "factorise": (lrnn.factorise, {"network": DENSE}),
    "gaussianity": (lrnn.gaussianity, {"network": NET}),
    "share_outside_span": (
        networks.share_outside_span,
        {"network": NET, "states": np.ones((2, 6))},
    ),
    "save_network": (lrnn.save_network, {"network": NET, "path": "net.npz"}),
    "load_network": (lrnn.load_network, {"path": "saved.npz"}),
    "describe_file": (networks.describe_file, {"path": "vectors.npz", "dt": DT}),
    "describe": (networks.describe, {"network": NET}),
    "weight_space": (networks.weight_space, {"model": NET}),
    "LeafSpace": (networks.LeafSpace, {"network": DENSE}),
    "Roles": (overlaps.Roles, {}),
    "Overlaps": (lrnn.Overlaps, {"gram": Q.gram, "roles": Q.roles}),
    "Overlaps.from_vectors": (lrnn.Overlaps.from_vectors, {**VECTORS, "scale": 6}),
    "Overlaps.from_gram": (lrnn.Overlaps.from_gram, {"matrix": np.eye(4)}),
    "Overlaps.from_values": (lrnn.Overlaps.from_values, dict(zip(Q.names, [0.1] * 6 + [1.0] * 4))),
    "Overlaps.from_visible": (
        lrnn.Overlaps.from_visible,
        {"zm": 0.1, "zu": 0.1, "vm": 0.1, "vu": 0.1, "mu": 0.1, "mm": 1.0, "uu": 1.0},
    ),
    "Overlaps.replace": (Q.replace, {"uu": 9.0}),
    "Overlaps.with_means": (Q.with_means, {"z": 0.01}),
    "degenerate_twin": (lrnn.degenerate_twin, {"model": Q, "uu": 9.0}),
    "visible": (lrnn.visible, {"model": NET}),
    "invariants": (lrnn.invariants, {"model": NET}),
    "coupling": (lrnn.coupling, {"roles": Q.roles}),
    "reachable_dimensions": (lrnn.overlaps.reachable_dimensions, {"overlaps": Q}),
    "random_overlaps": (overlaps.random_overlaps, {"key": KEY}),
    "flat_direction": (overlaps.flat_direction, {"overlaps": Q}),
    "flat_range": (overlaps.flat_range, {"overlaps": Q}),
    "regauged": (overlaps.regauged, {"overlaps": Q, "c": 2.0}),
    "transposed": (overlaps.transposed, {"overlaps": Q}),
    "images": (inference.images, {"model": Q, "method": DESCENT}),
    "Outputs": (inference.Outputs, {}),
    "Loss": (inference.Loss, {}),
    "Observations": (
        inference.Observations,
        {"channel": inference.Loss(), "values": np.ones(2), "epochs": (0, 1), "noise": 0.1},
    ),
    "Observations.binomial": (
        inference.Observations.binomial,
        {"correct": np.ones(2), "trials": 2, "epochs": (0, 1)},
    ),
    "Prior": (inference.Prior, {}),
    "infer": (
        inference.infer,
        {
            "data": SEEN,
            "objective": FILTER,
            "method": DESCENT,
            "model": RED,
            "starts": 1,
            "key": KEY,
        },
    ),
    "compare": (
        inference.compare,
        {
            "data": SEEN,
            "objective": FILTER,
            "candidates": {"all": DESCENT},
            "model": RED,
            "starts": 1,
            "key": KEY,
        },
    ),
    "confusion": (
        inference.confusion,
        {
            "objective": FILTER,
            "candidates": {"all": DESCENT},
            "model": RED,
            "epochs": range(0, 11, 5),
            "observe": inference.Outputs(1),
            "noise": 0.01,
            "repetitions": 1,
            "starts": 1,
            "key": KEY,
        },
    ),
    "identifiable": (
        inference.identifiable,
        {
            "objective": FILTER,
            "method": DESCENT,
            "model": RED,
            "epochs": (0, 1),
            "observe": inference.Visible(),
            "noise": 0.1,
        },
    ),
    "read_observations": (inference.read_observations, {"path": "mouse.csv", "noise": 0.1}),
    "separate": (
        inference.separate,
        {"first": RED, "second": lrnn.ReducedRNN(Q.replace(uu=2.0), dt=DT), **DESIGN},
    ),
    "optimal_probe": (inference.optimal_probe, {"model": RED, "directions": 3, **DESIGN}),
    "exact_ranks": (
        inference.exact_ranks,
        {"objective": FILTER, "method": DESCENT, "overlaps": Q, "epochs": 1},
    ),
    "from_recordings": (
        inference.from_recordings,
        {
            **{"states": STATES, "inputs": np.eye(5)[:, :1], "z": np.ones((3, 1)), "dt": DT},
            "groups": 4,
        },
    ),
    "discriminability": (
        inference.discriminability,
        {
            **{"objective": FILTER, "observe": inference.Loss(), "noise": 0.1, "epochs": (0, 1)},
            "alternatives": {"a": (RED, DESCENT), "b": (RED, DESCENT)},
        },
    ),
    "savings": (
        inference.savings,
        {
            **{"model": RED, "task": FILTER, "other": FILTER, "method": DESCENT, "epochs": 3},
            **{"history": (0, 1), "criterion": 0.999},
        },
    ),
    "finite_size": (
        inference.finite_size,
        {
            **{"model": RED, "objective": FILTER, "method": DESCENT, "neurons": 8, "draws": 2},
            **{"observe": inference.Loss(), "epochs": (0, 1), "key": KEY},
        },
    ),
    "predict": (
        inference.predict,
        {"estimate": RECORDED, "objective": FILTER, "method": DESCENT, "epochs": 1},
    ),
    "ReducedRNN": (lrnn.ReducedRNN, {"overlaps": Q, "dt": DT}),
    "MixtureRNN": (
        lrnn.MixtureRNN,
        {"populations": [Q, Q], "weights": np.array([0.5, 0.5]), "dt": DT},
    ),
    "MixtureRNN.network": (
        lrnn.MixtureRNN([Q, Q], np.array([0.5, 0.5]), dt=DT).network,
        {"n": 20, "key": KEY},
    ),
    "reduce": (lrnn.reduce, {"network": NET}),
    "RandomBulk": (lrnn.RandomBulk, {"g": 0.5, "key": KEY}),
    "RandomBulk of a matrix": (lrnn.RandomBulk, {"g": 0.5, "j": np.eye(3)}),
    "RandomBulk.matrix": (lrnn.RandomBulk(0.5, key=KEY).matrix, {"n": 3}),
    "LowRankRNN over a bulk": (
        lrnn.LowRankRNN,
        {**VECTORS, "dt": DT, "bulk": lrnn.RandomBulk(0.5, key=KEY)},
    ),
    "SparseMatrix": (
        networks.SparseMatrix,
        {"values": np.ones(2), "places": np.array([[0, 0], [1, 1]]), "size": 2},
    ),
    "overlaps_through": (networks.overlaps_through, {"network": OVER, "powers": 2}),
    "reduce over a bulk": (lrnn.reduce, {"network": OVER, "words": 3}),
    "compress over a bulk": (lrnn.compress, {"network": OVER, "words": 3}),
    "compress by steps": (
        lrnn.compress,
        {"network": OVER, "feedback": np.ones((6, 1)), "steps": 1, "tolerance": 1e-3},
    ),
    "word_limit": (reduced.word_limit, {"overlaps": Q, "g": 0.3, "words": 3, "dt": DT}),
    "truncation": (reduced.truncation, {"network": LIMIT, "steps": 5}),
    "Words": (reduced.Words, {"length": 3}),
    "Powers": (reduced.Powers, {"length": 3}),
    "WordBulk": (reduced.WordBulk, {"g": 0.5, "words": reduced.Words(3), "copies": 2}),
    "CoreBulk": (reduced.CoreBulk, {"core": np.eye(3)}),
    "krylov_frame": (
        reduced.krylov_frame,
        {"product": lambda x: x, "first": np.eye(3)[:, :1], "dt": DT, "steps": 2},
    ),
    "compress": (lrnn.compress, {"network": NET}),
    "compress a dense network": (lrnn.compress, {"network": THIN}),
    "CompressedDense.lift": (lrnn.compress(THIN).lift, {"network": lrnn.reduce(THIN)}),
    "lift a dense network": (lrnn.lift, {"curve": THIN_CURVE, "network": THIN}),
    "invariants of a dense network": (lrnn.invariants, {"model": THIN}),
    "Compressed.lift": (lrnn.compress(NET).lift, {"network": lrnn.compress(NET).network}),
    "Truncated": (lrnn.Truncated, {"window": 2}),
    "FeedbackAlignment": (lrnn.FeedbackAlignment, {"feedback": np.ones((6, 1))}),
    "RFLO": (lrnn.RFLO, {"key": KEY}),
    "DelayedRule": (lrnn.DelayedRule, {"rule": lrnn.Gradient(), "epochs": 2}),
    "Online": (lrnn.Online, {"rule": lrnn.EProp()}),
    "WeightPerturbation": (lrnn.WeightPerturbation, {"sigma": 0.1, "key": KEY}),
    "NodePerturbation": (lrnn.NodePerturbation, {"sigma": 0.1, "key": KEY}),
    "steering": (rules.steering, {"rule": lrnn.Gradient(), "roles": Q.roles}),
    "measured_steering": (
        rules.measured_steering,
        {"rule": lrnn.EProp(), "model": RED, "task": FILTER, "epochs": 2},
    ),
    "perturbation_moments": (
        rules.perturbation_moments,
        {"reduction": RED, "objective": FILTER, "lr": 0.1, "neurons": 10},
    ),
    "conserved": (rules.conserved, {"rule": lrnn.Gradient(), "model": NET}),
    "LoadingLaw": (
        networks.LoadingLaw,
        {"draw": lambda g, e: dict(zip("zvmu", g.T)), "normal": 4},
    ),
    "LoadingLaw.network": (
        networks.LoadingLaw(lambda g, e: dict(zip("zvmu", g.T)), normal=4).network,
        {"n": 6, "key": KEY, "dt": DT},
    ),
    "population": (lrnn.population, {"law": Q, "nodes": 20, "dt": DT, "key": KEY}),
    "ImpulseResponse": (lrnn.ImpulseResponse, {"target": np.ones(5), "dt": DT}),
    "ExponentialFilter": (lrnn.ExponentialFilter, {"rate": 0.2, "dt": DT, "steps": 5}),
    "MixedFilter": (
        tasks.MixedFilter,
        {"rates": [0.2, 1.0], "amplitudes": [1.0, 0.0], "dt": DT, "steps": 5},
    ),
    "OscillatingFilter": (
        lrnn.OscillatingFilter,
        {"rate": 0.2, "frequency": 1.0, "dt": DT, "steps": 5},
    ),
    "WhiteNoise": (lrnn.WhiteNoise, {"filter": FILTER}),
    "TeacherStudent": (lrnn.TeacherStudent, {"teacher": NET, "steps": 5}),
    "FlipFlop": (lrnn.FlipFlop, {"dt": DT, "steps": 60, "batch": 2}),
    "DecisionMaking": (lrnn.DecisionMaking, {"dt": DT, "batch": 2}),
    "from_neurogym": (
        tasks.from_neurogym,
        {"env": Gym(), "tau": 100.0, "trials": 3, "key": KEY, "batch": 2, "held_out": 0.3},
    ),
    "RateCost": (lrnn.RateCost, {"task": FILTER, "strength": 0.1}),
    "RateCost.loss": (lrnn.RateCost(FLIPS, 0.1).loss, {"model": NET, "batch": FLIPS.sample(KEY)}),
    "PrivateNoise": (lrnn.PrivateNoise, {"task": FLIPS, "std": 0.1}),
    "PrivateNoise.sample": (lrnn.PrivateNoise(FLIPS, 0.1).sample, {"key": KEY}),
    "PrivateNoise.loss": (
        lrnn.PrivateNoise(FLIPS, 0.1).loss,
        {"model": NET, "batch": lrnn.PrivateNoise(FLIPS, 0.1).sample(KEY)},
    ),
    "measured_visible": (lrnn.measured_visible, {"reduction": RED, "objective": FILTER}),
    "task.sample": (FLIPS.sample, {"key": KEY}),
    "filter.sample": (NOISY.sample, {"key": KEY}),
    "filter.loss": (NOISY.loss, {"model": NET, "batch": NOISY.sample(KEY)}),
    "filter.check": (NOISY.check, {"model": NET}),
    "task.loss": (FLIPS.loss, {"model": NET, "batch": FLIPS.sample(KEY)}),
    "noise.loss": (
        lrnn.WhiteNoise(FILTER, batch=2).loss,
        {"model": NET, "batch": (np.ones((2, 5, 1)), np.ones((2, 5, 1)))},
    ),
    "KIntegrator": (lrnn.KIntegrator, {}),
    "LinearPlant": (
        lrnn.LinearPlant,
        {"a": np.eye(2) + np.eye(2, k=1), "b": np.eye(2)[:, 1:], "c": np.eye(2)[:1]},
    ),
    "TrackingPlant": (lrnn.TrackingPlant, {}),
    "Pendulum": (environments.Pendulum, {}),
    "Ring": (environments.Ring, {}),
    "Delayed": (lrnn.Delayed, {"plant": PLANT, "steps": 2}),
    "ForceField": (lrnn.ForceField, {"plant": PLANT, "force": np.ones((1, 2))}),
    "UniformStart": (environments.UniformStart, {"half_width": 1.0}),
    "GaussianStart": (environments.GaussianStart, {"factor": 1.0}),
    "FixedStart": (environments.FixedStart, {"states": np.ones((2, 2))}),
    "ClosedLoop": (lrnn.ClosedLoop, {"plant": PLANT, "horizon": 5}),
    "loop.loss": (LOOP.loss, {"model": NET, "batch": np.ones((3, 2))}),
    "loop.simulate": (LOOP.simulate, {"model": NET, "batch": np.ones((3, 2))}),
    "loop.log_loss": (LOOP.log_loss, {"model": NET}),
    "noisy loop.loss": (
        lrnn.ClosedLoop(lrnn.KIntegrator(dt=DT, noise=0.1), 5, batch=3).loss,
        {"model": NET, "batch": (np.ones((3, 2)), np.ones((3, 5, 2)), None)},
    ),
    "plant.sample": (PLANT.sample, {"key": KEY, "trials": 3}),
    "Demonstrations": (
        environments.Demonstrations,
        {"teacher": NET, "loop": lrnn.ClosedLoop(PLANT, 5, batch=2)},
    ),
    "LoopLoss": (environments.LoopLoss, {"loop": LOOP, "trials": np.ones((3, 2))}),
    "linear_loop": (environments.linear_loop, {"model": NET, "plant": PLANT}),
    "spectrum": (lrnn.spectrum, {"model": NET, "plant": PLANT}),
    "loop_matrix": (stability.loop_matrix, {"model": NET, "plant": PLANT}),
    "LoopMatrix": (stability.LoopMatrix, {"plant": PLANT}),
    "stability_epoch": (lrnn.stability_epoch, {"radii": np.array([1.5, 0.5])}),
    "stages": (lrnn.stages, {"curve": CURVE, "values": VALUES}),
    "effective_gains": (lrnn.effective_gains, {"model": NET, "loop": LOOP}),
    "lqr_gain": (lrnn.lqr_gain, {"loop": LOOP}),
    "gain_landscape": (stability.gain_landscape, {"loop": LOOP, "gains": np.ones((1, 2))}),
    "leading": (stability.leading, {"values": VALUES}),
    "leading_is_complex": (stability.leading_is_complex, {"values": VALUES}),
    "outliers": (stability.outliers, {"values": VALUES, "bulk": 0.9, "count": 1}),
    "radius": (stability.radius, {"values": VALUES}),
    "track": (stability.track, {"values": VALUES}),
    "Tradeoff": (stability.Tradeoff, {"alpha": 0.5}),
    "characteristic_polynomial": (stability.characteristic_polynomial, {"overlaps": Q}),
    "long_term_cost": (stability.long_term_cost, {"overlaps": Q, "steps": 5}),
    "short_term_cost": (stability.short_term_cost, {"overlaps": Q}),
    "third_eigenvalue": (stability.third_eigenvalue, {"overlaps": Q}),
    "stage_one_eigenvalues": (stability.stage_one_eigenvalues, {"zm": -0.1}),
    "stage_one_loss": (stability.stage_one_loss, {"zm": -0.1, "steps": 5}),
    "learn": (
        lrnn.learn,
        {"model": RED, "objective": FILTER, "method": DESCENT, "epochs": 1},
    ),
    "learn with a key": (
        lrnn.learn,
        {"model": RED, "objective": NOISY, "method": DESCENT, "epochs": 1, "key": KEY},
    ),
    "Descent": (lrnn.Descent, {"lr": 0.1}),
    "NormalisedDescent": (lrnn.NormalisedDescent, {"lr": 0.1}),
    "Muon": (lrnn.Muon, {"lr": 0.1}),
    "Training": (lrnn.Training, {"optimiser": optax.sgd(0.1)}),
    "Flow": (lrnn.Flow, {"lr": 0.1}),
    "Slowed": (learning.Slowed, {"method": DESCENT, "below": 0.1, "factor": 0.5}),
    "learn_sequence": (
        lrnn.learn_sequence,
        {"model": RED, "phases": [learning.Phase(FILTER, DESCENT, 1)]},
    ),
    "holonomy": (
        learning.holonomy,
        {"model": RED, "tasks": [FILTER, FILTER], "method": DESCENT, "epochs": 1, "settle": 1},
    ),
    "excursion": (learning.excursion, {"curve": CURVE, "first": 0, "last": 1}),
    "lift": (lrnn.lift, {"curve": CURVE, "network": NET}),
    "noise_drift": (
        lrnn.noise_drift,
        {"reduction": RED, "task": NOISY, "method": DESCENT, "epochs": 1},
    ),
    "noise_drift of minibatches": (
        lrnn.noise_drift,
        {
            **{"reduction": RED, "task": lrnn.WhiteNoise(FILTER, batch=2), "method": DESCENT},
            **{"epochs": 1, "kurtosis": -1.2, "directions": 0},
        },
    ),
    "diagnose_closure": (
        lrnn.diagnose_closure,
        {"network": BENT, "task": FLIPS, "method": DESCENT, "epochs": 1, "key": KEY},
    ),
    "decoding_accuracy": (
        learning.decoding_accuracy,
        {"features": np.ones((8, 2, 3)), "held_out": 2, "splits": 2, "key": KEY},
    ),
    "LearningCurve.load": (lrnn.LearningCurve.load, {"path": "curve.npz"}),
    "LearningCurve.save": (CURVE.save, {"path": "another.npz"}),
    "LearningCurve.distance": (CURVE.distance, {"other": CURVE}),
    "sweep": (lrnn.sweep, {"cells": {"x": np.arange(2.0)}, "function": lambda x: {"y": x}}),
    "Sweep": (lrnn.Sweep, {"cells": {"x": np.arange(2.0)}, "function": lambda x: {"y": x}}),
    "sampled": (sweeps.sampled, {"count": 3, "seed": 0, "x": (0.0, 1.0)}),
    "open_sweep": (sweeps.open_sweep, {"path": "store"}),
    "setup_jax": (lrnn.setup_jax, {"dtype": "float64", "cache": False}),
    "read_sweep": (sweeps.read_sweep, {"path": "sweep.toml"}),
}

NOT_CALLED = {
    "what functions return, or hold together": """
        Coupling Invariants ReachableDimensions Visibility Factorisation Gaussianity Trials
        Pairs Sensitivity LoopTrials Trajectories Matrices LinearLoop Scaled LinearSystem
        ClosureGap ClosureReport LearningCurve LearningState Phase Distance Decoding Law NoiseDrift
        Excursion Holonomy Landscape Stages Options LearningError Interrupted RESULTS UnknownOverlap
        StoreError Stopped Evaluation NoisyTrials Store Axis Design Runnable FixedPoints
        FixedPointHistory Steering Conserved Compressed CompressedDense Feedback MatrixInvariant
        PerturbationMoments Images Symmetry Ranks Estimate Comparison Confusion Recorded Forecast
        Discriminability Savings crossing
        Combinations Identifiability Fits Probe WordLimit Truncation BulkLaw Alphabet""",
    "without arguments": """
        Identity Erf Tanh ReLU Softplus Squared Gradient VisibleOnly EProp Plain
        Checkpointed
        Visible Successes
        ThroughReduction RandomPhases Sobol GaussHermite Isospectral""",
    "between layers, of what the layer above has checked": """
        BackwardPath Backward count_words Crowd Jets Ring System system Columns
        as_crowd CompressedSpace CoreSpace VectorSpace InputNoise
        LabelNoise StartNoise as_kurtosis check_gradient_noise with_kurtosis as_neurons as_feedback
        overlaps_beside
        Simulation inner_power Equilibria read_out as_network Generated Modes Samples EpochLoss
        Setting combinations covariance fit starting d_optimal e_optimal
        Data Problem NoisyStep GramSpace ReadoutSpace plus_bias with_readout check_rates message_of
        as_evaluation as_activation at_rest check_fits check_gram checked_batch
        check_factorisable recurrent_change
        choose_evaluation column_rates conserved_weights erf from_vector gauss_hermite
        gaussian_average gram_rank impulse_response invariants_of is_realisable linear_system
        markov_parameters moments nodes one_set outcome outcome_code power_sum range_projector
        reachable_interval read_after recurrent_drive relative_gap root scan_states
        share_beyond_closure simplest square_root stack third_moment trapezoid variance_beyond
        vectors_with_overlaps visible_mask readable summarise""",
    "of any arguments": "Labelled grid zipped join_curves ProgressBar in_groups",
}

WRONG = {
    "object": object(),
    "text": "three",
    "complex": 1 + 2j,
    "complex array": np.ones(2) * 1j,
    "bool": True,
    "nan": float("nan"),
    "many": np.full((2, 3, 5), 0.1),
    "none": None,
    "class": lrnn.Tanh,
    "function": np.sort,
    "negative": -1,
    "fraction": 2.5,
    "zero": 0,
    "ragged": [[1.0], [1.0, 2.0]],
    "names": ("a", "b"),
    "mapping": {"nope": 1.0},
    "two keys": jr.split(KEY, 2),
}
FINE = {  # what may be right, by what an annotation says
    r"PRNGKeyArray|Key\[": (),
    r"\bint\b|SupportsIndex": ("zero", "negative"),
    r"\bfloat\b|complex|Float\[|Array\b": ("zero", "negative", "fraction", "many"),
    r"\bbool\b": ("bool",),
    r"\bstr\b|PathLike|Literal": ("text",),
    r"tuple\[str": (),
    r"Mapping|dict": (),
    r"Callable": ("function", "class"),
    r"None": ("none",),
    r"component": (),
}
KINDS = {  # of what an annotation does not say
    ("effective_gains", "batch"): "Array | None",
    ("from_neurogym", "env"): "component",
    ("stability_epoch", "epochs"): "Array | None",
    ("radius", "values"): "Complex[Array]",
    ("learn", "batches"): "Array | None",
    ("learn with a key", "batches"): "Array | None",
    ("diagnose_closure", "batches"): "Array | None",
    ("load_network", "dtype"): "component | None",
    ("sweep", "cells"): "component",
    ("Sweep", "cells"): "component",
}
ALSO_FINE = {  # as NaN marks epochs after an early end, and eigenvalues are complex
    **dict.fromkeys(
        [(name, "values") for name in ("leading", "leading_is_complex", "outliers", "radius")],
        ("nan", "complex array"),
    ),
    ("track", "values"): ("nan",),
    ("stages", "values"): ("nan",),
    ("outliers", "bulk"): ("complex",),
    **{(name, "rates"): ("mapping",) for name in ("Descent", "NormalisedDescent", "Muon", "Flow")},
}


def said(annotation):
    """What an annotation says, in words that `FINE` knows."""
    if isinstance(annotation, typing.TypeVar):
        return "component"
    options = typing.get_args(annotation) if is_union(annotation) else [annotation]
    words = []
    for option in options:
        own = isinstance(option, type) and option.__module__.split(".")[0] in ("lrnn_jax", "optax")
        text = option.__name__ if isinstance(option, type) else repr(option)
        if isinstance(option, str):  # the class that it stands in
            text = "None" if "None" in option else ""
        words.append(f"component {text}" if own or isinstance(option, str) else text)
    text = " | ".join(words)
    # whatever JAX takes for an array
    return "Array" + " | None" * ("None" in text) if "TypedNdArray" in text else text


def is_union(annotation):
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def wrong_for(name, parameter):
    """Labels of what is wrong for a parameter; none where nothing says what is right."""
    place = name, parameter.name
    text = KINDS.get(place) or said(parameter.annotation)
    known = [fine for pattern, fine in FINE.items() if re.search(pattern, text)]
    fine = {label for labels in known for label in labels} | set(ALSO_FINE.get(place, ()))
    return [label for label in WRONG if label not in fine] if known else []


def cases():
    """Every wrong value of every parameter: (call, parameter, label)."""
    for name, (function, valid) in CALLS.items():
        parameters = inspect.signature(function).parameters
        for parameter in parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                for given in valid.keys() - parameters.keys():
                    yield from ((name, given, label) for label in wrong_for(name, parameter))
            elif parameter.kind is not parameter.VAR_POSITIONAL:
                yield from ((name, parameter.name, label) for label in wrong_for(name, parameter))


def outcome(name, parameter, label):
    """ "" for a clear refusal; otherwise what happened."""
    function, valid = CALLS[name]
    try:
        jax.block_until_ready(jax.tree.leaves(function(**{**valid, parameter: WRONG[label]})))
    except Exception as error:
        message = str(error)
        last = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        kind = isinstance(error, (ValueError, TypeError, lrnn.LearningError))
        if not (kind and last.is_relative_to(PACKAGE)):
            return f"{type(error).__name__} of {last.name}: {message[:150]}"
        named = re.search(rf"\b{parameter.replace('batches', 'batch(es)?')}\b", message)
        return "" if named else f"names nothing: {message[:150]}"
    return "accepted"


def public():
    """Every callable that the packages offer, by name."""
    found = {}
    for package in PACKAGES:
        module = importlib.import_module(f"lrnn_jax.{package}".rstrip("."))
        for name in dir(module):
            item = getattr(module, name)
            own = callable(item) and (item.__module__ or "").startswith("lrnn_jax.")
            if own and not name.startswith(("_", "Abstract")):
                found[name] = item
    return found


def main(share):
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        lrnn.save_network(NET, "saved.npz")
        np.savez("vectors.npz", **VECTORS)
        CURVE.save("curve.npz")
        lrnn.sweep(*CALLS["sweep"][1].values(), store="store", progress=False)
        Path("mouse.csv").write_text("epoch,loss\n0,1\n1,0.5\n")
        Path("sweep.toml").write_text('[sweep]\nrun = "learning"\n[axes]\nlr = [0.1]\n')
        # what works is compiled: all of it only where all is tried
        broken = {name: outcome_of_valid(name) for name in CALLS if share == 1}
        rng = random.Random(0)
        picked = [case for case in cases() if rng.random() < share]
        results = [(*case, outcome(*case)) for case in picked]
    known = {word for words in NOT_CALLED.values() for word in words.split()}
    missing = sorted(public().keys() - CALLS.keys() - known)
    json.dump({"broken": broken, "missing": missing, "results": results}, sys.stdout)


def outcome_of_valid(name):
    function, valid = CALLS[name]
    try:
        function(**valid)
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]
    return ""


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
