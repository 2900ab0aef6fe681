"""What decides, beside memory, on which hosts a VM can run: storage, networks, CPU, devices, and the guest itself.

One file per subject, each rule once, over plain values that rows and columns both give. Errors and their parameters are
the asker's: a rule answers with what is missing. Knows neither Fleet nor database.
"""
