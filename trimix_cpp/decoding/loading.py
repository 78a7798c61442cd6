"""From a spec and options to the models and contexts of roles, where the memory holds them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..errors import TrimixError
from ..llama import Context, Model, hardware
from ..quant import Options, check_fits, estimate
from ..store import RoleSpec, TrioSpec

# What a user should know and no error is; the command line shows it.
log = logging.getLogger(__name__)

DEFAULT_N_CTX = 4096
# Of a branch: cells for what is its alone; it shares all but its last tokens.
_BRANCH_CELLS = 64


@dataclass(frozen=True)
class Loader:
    """Opens what the roles of one trio run with.

    Args:
        spec: which file plays which role.
        options: how they run.
        vocab_only: models are tokenizers alone.
    """

    spec: TrioSpec
    options: Options
    vocab_only: bool = False

    def file(self, role: str) -> object:
        """The file of a role and where it runs: equal for two names of one."""
        path, servers = self._role(role).path, self.options.servers(role)
        try:
            found = path.stat()
        except OSError:
            return path, servers  # it is told of when it is opened
        return (found.st_dev, found.st_ino) if found.st_ino else path.resolve(), servers

    def model(self, role: str) -> Model:
        """The model of a role.

        Raises:
            ModelFileError: its file is missing or broken.
            TrimixError: the spec has no file for it.
        """
        return Model(
            self._role(role).path,
            n_gpu_layers=self.options.layers_on_gpu(role),
            vocab_only=self.vocab_only,
            exact=self.options.exact,
            mlock=self.options.mlock,
            servers=self.options.servers(role),
        )

    def context_length(self, models: Mapping[str, Model]) -> int:
        """Tokens that one sequence may have in all of them."""
        trained = min(model.n_ctx_train for model in models.values())
        wanted = self.options.n_ctx
        return min(trained, DEFAULT_N_CTX) if wanted is None else wanted or trained

    def check_memory(self, models: Mapping[str, Model], n_ctx: int) -> None:
        """Raises TrimixError where contexts would not fit; warns where weights do not."""
        adapters = [(role, self._role(role).lora) for role in models]
        machine = hardware()
        if not all(model.repacks for model in models.values()):
            machine = replace(machine, repacked_types=frozenset())
        needed = estimate(
            {role: model.header for role, model in models.items()},
            replace(self.options, n_ctx=n_ctx),
            hardware=machine,
            # A missing file is told of when it is opened.
            adapters={r: path.stat().st_size for r, path in adapters if path and path.exists()},
            loaded=True,
        )
        if warning := check_fits(needed):
            log.warning("%s", warning)

    def context(self, role: str, model: Model, n_ctx: int, n_branches: int) -> Context:
        """The context of a role, with `n_branches` further sequences for each text.

        Raises:
            ModelFileError: the adapter is missing or broken.
            TrimixError: no memory, or options that do not go together.
        """
        options, role_spec = self.options, self._role(role)
        type_k, type_v = options.cache_types(role)
        n_seq = options.n_parallel * (1 + n_branches)
        n_cells = options.n_parallel * (n_ctx + n_branches * _BRANCH_CELLS)
        return Context(
            model,
            n_ctx=n_ctx,
            n_batch=max(options.n_batch, n_seq),
            n_ubatch=options.n_ubatch,
            n_seq_max=n_seq,
            n_cells=n_cells if n_branches else None,
            n_outputs_max=max(options.n_parallel, options.n_outputs) * (1 + n_branches),
            n_threads=options.n_threads or None,
            flash_attn=options.flash_attn,
            type_k=type_k,
            type_v=type_v,
            lora=(role_spec.lora, role_spec.lora_scale) if role_spec.lora else None,
        )

    def _role(self, role: str) -> RoleSpec:
        if role not in self.spec.roles:
            raise TrimixError(
                f"{self.spec.name}: the weights use {role}, but no file is given for it; "
                f"give --{role.replace('_', '-')} FILE or other weights"
            )
        return self.spec.roles[role]
