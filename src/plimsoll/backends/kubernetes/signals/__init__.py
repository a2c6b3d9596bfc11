"""What autoscalers read: external and custom metrics as aggregated APIs, KEDA's external scaler.

    book         what the controller published last, and what is too old to be told
    rounding     a count past an HPA's tolerance          quantity, selector   Kubernetes' notations
    ownership    whose an APIService is
    access       who asks, and whether it may             peer                 the certificate that it showed
    api          the two APIs over HTTP                   documents            what they answer
    keda         the gRPC service                         messages             its messages
    prometheus   figures from queries, where there is one

An answer is never old: what has not been published for a while is an error in words, and an autoscaler that gets an
error keeps the count it has.
"""
