# The image: one static program, and the certificate authorities that it trusts. The context is a folder with these two files:
#
#   fhir-export-operator   RUSTFLAGS='-C target-feature=+crt-static' \
#                          cargo build --release --target x86_64-unknown-linux-gnu
#   ca-certificates.crt    /etc/ssl/certs/ca-certificates.crt of the machine that builds
#
# Nothing else is needed: names are resolved by what the container runtime puts into /etc, time zones are in the program.
FROM scratch
LABEL org.opencontainers.image.title="fhir-export-operator" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY fhir-export-operator /fhir-export-operator
USER 65532:65532
EXPOSE 8080 8081
ENTRYPOINT ["/fhir-export-operator"]
CMD ["run"]
