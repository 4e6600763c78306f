# The image: one static program, and the certificate authorities that it trusts. The context is a folder that `make
# image` lays out for the architecture of this machine, and .ci/image-context for a release:
#
#   amd64/fhir-export-operator, arm64/fhir-export-operator     static programs
#   ca-certificates.crt                                        the authorities
#
# Nothing else is needed: names are resolved by what the container runtime puts into /etc, time zones are in the
# program.
FROM scratch
ARG TARGETARCH
ARG VERSION=""
ARG REVISION=""
ARG SOURCE=""
LABEL org.opencontainers.image.title="fhir-export-operator" \
      org.opencontainers.image.description="Runs FHIR bulk exports as Kubernetes resources" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY ${TARGETARCH}/fhir-export-operator /fhir-export-operator
USER 65532:65532
EXPOSE 8080 8081
ENTRYPOINT ["/fhir-export-operator"]
CMD ["run"]
