import numpy as np

from mlp_core.nn.parameters import parameter_summary, parameter_table

PARAMS = {f"MixerBlock_{i}": {"kernel": np.zeros((3, i + 1), np.float32)} for i in (0, 10, 2)}


def test_summary_counts_modules_in_the_order_of_their_numbers():
    lines = parameter_summary(PARAMS).splitlines()
    assert [line.split()[0] for line in lines[:3]] == [
        "MixerBlock_0",
        "MixerBlock_2",
        "MixerBlock_10",
    ]
    assert lines[-1].split() == ["all", "parameters", "3", "arrays", "45"]


def test_table_names_every_parameter():
    table = parameter_table(PARAMS)
    assert all(f"{name}/kernel" in table for name in PARAMS) and "Total: 45" in table
