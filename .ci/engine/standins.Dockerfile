# Images that stand in for those of Docker Hub and gcr.io where neither is to be had (.ci/engine/start). Alike: programs
# and their major versions, users, folders, entry points, what a shell there knows. Not alike: the distribution below
# (Debian for Alpine and Ubuntu), MongoDB 6.0 for 8, Prometheus 2.53 for 3.5, sizes.

FROM debian:trixie-slim AS debian
RUN apt-get update

FROM debian AS rust
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
RUN apt-get install -y --no-install-recommends gcc libc6-dev
COPY toolchain /usr/local/cargo
ENV CARGO_HOME=/usr/local/cargo PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# C library and certificates, and neither shell nor package manager.
FROM debian AS distroless-parts
WORKDIR /debs
RUN apt-get download base-files netbase tzdata libc6 libgcc-s1 libgomp1 libstdc++6 gcc-14-base libssl3t64
RUN mkdir -p /r/etc/ssl/certs && for deb in *.deb; do dpkg-deb -x "$deb" /r; done \
    && cp /etc/ssl/certs/ca-certificates.crt /r/etc/ssl/certs/ \
    && echo 'nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin' >/r/etc/passwd && echo 'nonroot:x:65532:' >/r/etc/group
FROM scratch AS distroless
COPY --from=distroless-parts /r /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532
WORKDIR /home/nonroot

# Busybox, as in Alpine.
FROM debian AS nats-parts
RUN apt-get install -y --no-install-recommends busybox-static
RUN mkdir -p /r/bin /r/tmp /r/etc /r/usr/local/bin && chmod 1777 /r/tmp && cp /bin/busybox /r/bin/ && cp /etc/passwd /etc/group /r/etc/ \
    && for applet in $(busybox --list | grep -vx busybox); do ln -s busybox "/r/bin/$applet"; done
FROM scratch AS nats
COPY --from=nats-parts /r /
COPY nats-server /usr/local/bin/
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
CMD ["nats-server"]

FROM debian AS mongo
RUN groupadd --gid 999 --system mongodb && useradd --uid 999 --system --gid mongodb --home-dir /data/db mongodb \
    && mkdir -p /data/db /data/configdb /docker-entrypoint-initdb.d && chown -R mongodb:mongodb /data
RUN apt-get install -y --no-install-recommends procps nodejs libcurl4t64 libssl3t64
COPY mongod /usr/bin/
COPY node_modules /opt/mongosh/node_modules
RUN ln -s /opt/mongosh/node_modules/mongosh/bin/mongosh.js /usr/bin/mongosh && mongosh --version && mongod --version
COPY --chmod=755 mongo-entrypoint /usr/local/bin/docker-entrypoint.sh
VOLUME /data/db /data/configdb
ENV HOME=/data/db
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["mongod"]

FROM debian AS haproxy
# The version we name is in no release of Debian yet.
RUN sed 's/trixie/sid/' /etc/apt/sources.list >/etc/apt/sources.list.d/sid.list \
    && apt-get -o Acquire::Check-Valid-Until=false update && apt-get install -y --no-install-recommends -t sid haproxy
RUN usermod -u 99 haproxy && groupmod -g 99 haproxy && chown 99:99 /var/lib/haproxy
STOPSIGNAL SIGUSR1
USER haproxy
WORKDIR /var/lib/haproxy
CMD ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]

FROM debian AS prometheus
RUN apt-get install -y --no-install-recommends prometheus && mkdir -p /prometheus && chown nobody:nogroup /prometheus
USER nobody
WORKDIR /prometheus
VOLUME /prometheus
ENTRYPOINT ["/usr/bin/prometheus"]
