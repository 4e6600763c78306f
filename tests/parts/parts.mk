# The real parts that the tests run against: see tests/parts/fetch.

.PHONY: parts parts-clean

parts: ## Build or install the control plane, Helm, Azurite, two S3 stores, two FHIR servers, Synthea, promtool, actionlint and the image's authorities, once
	@tests/parts/fetch all

parts-clean: ## Remove the parts that were built
	@tests/parts/fetch clean
