"""Secrets in moto, put there by AWS's own client, and a user who may read some of them. Prints the user's access key."""

import json
import sys
import urllib.request

import boto3

endpoint = sys.argv[1]
options = dict(endpoint_url=endpoint, region_name="eu-central-1", aws_access_key_id="a", aws_secret_access_key="b")

secrets = boto3.client("secretsmanager", **options)
secrets.create_secret(Name="plain", SecretString='Pl4nted-password "\u00e9')
secrets.create_secret(Name="fields", SecretString=json.dumps({"username": "svc", "password": "Pl4nted-1", "port": 1433}))
secrets.put_secret_value(SecretId="fields", SecretString=json.dumps({"password": "Pl4nted-2", "port": 1, "note": ""}))
secrets.create_secret(Name="keytab", SecretBinary=b"\x05\x02\x00\x00Pl4nted-keytab\xff\xfe")
secrets.create_secret(Name="packed", SecretString=json.dumps({"keytab": "UGw0bnRl\nZC1rZXk="}))
deleted = secrets.create_secret(Name="deleted", SecretString="Pl4nted")
secrets.delete_secret(SecretId="deleted")

users = boto3.client("iam", **options)
users.create_user(UserName="etl")
statement = {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "*"}
policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
users.put_user_policy(UserName="etl", PolicyName="read", PolicyDocument=policy)
key = users.create_access_key(UserName="etl")["AccessKey"]

# From now on signatures and permissions are checked.
headers = {"Content-Type": "text/plain"}
urllib.request.urlopen(urllib.request.Request(f"{endpoint}/moto-api/reset-auth", b"0", headers)).read()
print(json.dumps({"id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}))
