"""Deep Emulator Network SEarch (Kasim et al. 2020, arXiv 2001.08055): DENSE.

A super-network offers several operations in every slot; weights and the probabilities of the
operations (network variables) are trained in turn; the best networks are trained again from
scratch. It knows nothing of what it emulates: any `Problem` will do. To emulate arrays::

    import torch
    from pyemu import dense

    x = torch.rand(1200, 3)  # parameters (n, inputs)
    y = (x[:, :1] * x[:, 1:2]).sqrt() + torch.sin(6.0 * x[:, 2:])  # outputs (n, 1), or fields
    train, held = (x[:1000], y[:1000]), (x[1000:], y[1000:])
    network = dense.SuperArchitecture(inputs=3, outputs=(1,))
    search = dense.Search(dense.Regression(network, train, held), dense.SearchConfig(steps=200))
    search.run()
    best = search.front()[-1]  # the front's last is the most accurate
    print(dense.describe(search.slots, best.architecture), best.latency_ns)
    alone = lambda a, seed: dense.Regression(network.alone(a, seed), train, held, seed=seed)
    chosen = dense.retrain(alone, [best], search.config, steps=300, seeds=[1])[0]
    print(chosen.loss, chosen.problem.predict(x[:5]))

`operations` has the options, `architecture` slots and network variables, `problem` the contract and
the super-architecture, `search` the training in turn, `retrain` what comes after it, `strategies`
what it is compared with. Needs torch and numpy; Optuna where `optuna_search` is called.
"""

from pyemu.dense.architecture import (
    Architecture,
    NetworkVariables,
    Slot,
    describe,
    latency,
    only,
    utilities,
)
from pyemu.dense.operations import Choice, Operation, menu
from pyemu.dense.problem import Problem, Regression, Size, SuperArchitecture, generator
from pyemu.dense.retrain import Retrained, ensemble, fit, retrain
from pyemu.dense.search import Candidate, Search, SearchConfig, front
from pyemu.dense.strategies import optuna_search, random_search, rank_correlation

__all__ = [
    "Architecture",
    "Candidate",
    "Choice",
    "NetworkVariables",
    "Operation",
    "Problem",
    "Regression",
    "Retrained",
    "Search",
    "SearchConfig",
    "Size",
    "Slot",
    "SuperArchitecture",
    "describe",
    "ensemble",
    "fit",
    "front",
    "generator",
    "latency",
    "menu",
    "only",
    "optuna_search",
    "random_search",
    "rank_correlation",
    "retrain",
    "utilities",
]
