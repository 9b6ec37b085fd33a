# The commands for everyday work. `make` alone builds Broker and runs it.

.DEFAULT_GOAL := run
.PHONY: run test check client demo bench bench-peers load torture simulate release-check help

run: ## build and run the server (release); ARGS="--port 9000" passes flags, FEATURES=rabbitmq adds the bridge
	@FEATURES="$(FEATURES)" scripts/run.sh $(ARGS)

test: ## run all tests; missing tools are installed
	@scripts/test.sh

check: ## check formatting, lints, dependencies, types, and that the built page is current
	@scripts/check.sh

client: ## serve the page with live reload, against a running server
	@scripts/client.sh

demo: ## start a fresh server and feed it real data; SPEED=0 is unlimited
	@scripts/demo.sh

bench: ## run the benchmarks; the limits of the machine are measured in the same run
	@cargo build --locked --release --package broker --package broker-bench
	@"$${CARGO_TARGET_DIR:-target}/release/broker-bench" all

bench-peers: ## compare with Redis, NATS, PocketBase and sled, which are installed; takes half an hour
	@scripts/bench-peers.sh $(ARGS)

load: ## compare live delivery to 10,000 subscribers with nchan and Redis; takes ten minutes; ARGS="fan --seconds 1"
	@scripts/load.sh $(ARGS)

torture: ## inject faults into the real binary, for an hour; DURATION=10m SEED=7 CAMPAIGNS="kill power"
	@scripts/torture.sh

simulate: ## run new seeds of the simulation, in release mode; SECONDS_MAX=3600
	@BROKER_SIM_SECONDS=$(or $(SECONDS_MAX),600) cargo test --locked --release --lib simulation -- \
		--no-capture --test-threads 4

release-check: ## pack the crate and the npm packages, and install them into scratch projects
	@scripts/release-check.sh

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
