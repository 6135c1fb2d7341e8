"""boto3 against S3: keys and metadata that only arrive signed as they were if nothing on the way changes them.

python s3.py ADDRESS DIRECT, where ADDRESS leads through the gateway and DIRECT, for the account, to the storage.
"""

import sys

import boto3
from botocore.config import Config

address, direct = sys.argv[1:]
started = {"region_name": "us-east-1", "aws_access_key_id": "first", "aws_secret_access_key": "first"}
iam = boto3.client("iam", endpoint_url=direct, **started)
iam.create_user(UserName="tester")
policy = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
iam.put_user_policy(UserName="tester", PolicyName="all", PolicyDocument=policy)
key = iam.create_access_key(UserName="tester")["AccessKey"]
account = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
paths = Config(s3={"addressing_style": "path"})
s3 = boto3.client("s3", endpoint_url=address, region_name="us-east-1", config=paths, **account)
s3.create_bucket(Bucket="box")
for name in ("plain", "a//b", "a/../b", "a/./b", "ünï/✓", "?#%&+ "):
    s3.put_object(Bucket="box", Key=name, Body=name.encode(), Metadata={"my_key": "kept"})
    found = s3.get_object(Bucket="box", Key=name)
    assert (found["Body"].read(), found["Metadata"]) == (name.encode(), {"my_key": "kept"}), name
assert s3.get_object(Bucket="box", Key="plain", Range="bytes=1-2")["Body"].read() == b"la"
large = bytes(5 << 20)
upload = s3.create_multipart_upload(Bucket="box", Key="large")["UploadId"]
of_upload = {"Bucket": "box", "Key": "large", "UploadId": upload}
tags = [s3.upload_part(**of_upload, PartNumber=number, Body=large)["ETag"] for number in (1, 2)]
parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]
s3.complete_multipart_upload(**of_upload, MultipartUpload={"Parts": parts})
assert s3.head_object(Bucket="box", Key="large")["ContentLength"] == 2 * len(large)
assert len(s3.list_objects_v2(Bucket="box")["Contents"]) == 7
s3.delete_objects(Bucket="box", Delete={"Objects": [{"Key": "a//b"}, {"Key": "large"}]})
try:
    boto3.client(
        "s3", endpoint_url=address, region_name="us-east-1", config=paths, **account | {"aws_secret_access_key": "x"}
    ).list_buckets()
except Exception as refused:
    assert "SignatureDoesNotMatch" in str(refused), refused
else:
    raise AssertionError("signatures are not checked")
print("good")
