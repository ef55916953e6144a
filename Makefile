# The front door: `make demo` and `make test` set up everything that they need.
.DEFAULT_GOAL := help
.PHONY: help setup demo test chaos simulate simulate-mutants check bench bench-fanout package clean
export CARGO_TERM_PROGRESS_WHEN := never

help: ## What there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup: ## Tools, virtual environment, npm packages, native modules (debug)
	@tools/setup.sh

demo: setup ## The main job on real sockets: Python and Node services through cuts, messages, tasks and presence
	@tools/demo.sh

test: setup ## Everything: engine, vectors, scenarios, sockets, packages; ends with "N passed, N failed"
	@.venv/bin/python tools/test.py

chaos: setup ## Over a million messages between Rust, Python and Node on real sockets: cuts, stalls, kill -9; MESSAGES=1100000, SEED=random
	@tools/chaos.sh

simulate: ## Sessions and hub over a broken network in virtual time; SEEDS=200, FIRST=1
	@cargo run --quiet --release --locked -p realtime-simulation --bin simulate -- --seeds $(or $(SEEDS),200) --first $(or $(FIRST),1)

simulate-mutants: ## The same with behaviours broken on purpose: each has to be caught
	@cargo run --quiet --release --locked -p realtime-simulation --features mutants --bin simulate -- --mutants

check: setup ## Formatters, linters, types, documentation, licences, WebAssembly
	@.venv/bin/python tools/check.py

bench: ## Throughput and round trips in Rust, Python and Node beside their peers, then bench-fanout
	@tools/bench.sh
	@tools/bench-fanout.sh

bench-fanout: ## The server with 1,000 subscribers and with 10,000 idle connections, beside ws, socket.io and NATS
	@tools/bench-fanout.sh

package: ## The wheel and the npm tarballs, optimised, into dist/
	@REALTIME_PROFILE=dist tools/package.sh dist

clean: ## Removes what was built
	cargo clean
	rm -rf .venv node/node_modules node/dist examples/node_modules dist
